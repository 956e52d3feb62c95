// Clips by split, muscle region and activity, of what the filters let through.

import { clickedRegion, duration, el, plural, showBodyMap, tellShare, withCode, words } from "./dom.js";

/** Fill the page with the counts of /api/statistics. */
export function showStatistics(content, counts, dataset, { list, filtered }) {
  const sum = (splits) => Object.values(splits).reduce((total, count) => total + count, 0);
  const built = counts.splits.reduce((total, { built: clips }) => total + clips, 0);
  const planned = counts.splits.reduce((total, { planned: clips }) => total + clips, 0);
  const seconds = counts.splits.reduce((total, split) => total + split.seconds, 0);
  const activities = counts.activities.filter(({ splits }) => sum(splits));
  const newOnes = activities.filter(({ activity }) => dataset.activities[activity]?.new).length;
  const names = Object.fromEntries(dataset.regions.map(({ slug, name }) => [slug, name]));
  const bodyMap = el("div", { className: "body-map chosen-by-click", onclick: (event) => {
    const region = clickedRegion(event);
    if (region) location.hash = list({ region });
  } });

  content.replaceChildren(
    el("h1", {}, filtered ? "Statistics of the filtered clips" : "Statistics"),
    el("div", { className: "tiles" },
      tile(built.toLocaleString("en"), planned === built ? "clips" : `of ${planned.toLocaleString("en")} clips built`),
      tile(duration(seconds), "of video"),
      tile(activities.length, newOnes ? `activities, ${newOnes} of them new` : "activities"),
      tile(planned ? `${((100 * built) / planned).toFixed(1)}%` : "n/a", "coverage"),
      tile(built ? (counts.regions.reduce((total, { splits }) => total + sum(splits), 0) / built).toFixed(1) : "n/a", "regions a clip")),
    key(dataset.splits),
    el("div", { className: "charts" },
      el("section", { className: counts.failures.length ? "panel" : "panel wide" }, el("h2", {}, "Clips by split"),
        bars(counts.splits.map(({ split, built: clips, planned: all, seconds: length, videos: sources }) => ({
          label: words(split), splits: { [split]: clips }, whole: all, href: list({ split }),
          note: `${clips === all ? "" : `of ${all}, `}${duration(length)}, ${plural(sources, "video")}`,
        })))),
      counts.failures.length ? el("section", { className: "panel" }, el("h2", {}, "Clips that failed"),
        el("dl", { className: "failures" }, counts.failures.map(({ failure, clips, next_step: step }) => [
          el("dt", {}, el("a", { href: list({ failure }) }, `${clips.toLocaleString("en")} ${words(failure.replaceAll("-", "_"))}`)),
          el("dd", {}, withCode(step))]))) : "",
      el("section", { className: "panel regions-chart" }, el("h2", {}, "Clips by muscle region"),
        el("div", { className: "beside" },
          bars(counts.regions.map(({ region, splits }) => ({
            label: names[region], splits, href: list({ region }),
            note: built ? `${Math.round((100 * sum(splits)) / built)}%` : "",
          }))),
          bodyMap)),
      el("section", { className: "panel wide" }, el("h2", {}, "Clips by activity"),
        activities.length ? bars(activities
          .sort((a, b) => sum(b.splits) - sum(a.splits) || a.activity.localeCompare(b.activity))
          .map(({ activity, splits }) => ({
            label: dataset.activities[activity]?.name ?? activity,
            mark: dataset.activities[activity]?.new ? "new" : "", splits, href: list({ activity }),
          })), "columns") : el("p", { className: "quiet" }, "None built."))),
  );
  showBodyMap(bodyMap, "statistics", dataset.regions, counts.region_shares, (number) =>
    tellShare(dataset, counts.region_shares, number));

  /** Bars of {label, splits, whole?, note?, href, mark?}, all on the same scale. */
  function bars(rows, layout = "") {
    const most = Math.max(1, ...rows.map(({ splits, whole }) => Math.max(whole ?? 0, sum(splits))));
    return el("ul", { className: `bars ${layout}` }, rows.map(({ label, splits, whole, note, href, mark }) => {
      const parts = dataset.splits.filter((split) => splits[split]).map((split) => {
        const part = el("span", { className: `part ${split}`, title: `${words(split)}: ${splits[split]}` });
        part.style.width = `${(100 * splits[split]) / most}%`;
        return part;
      });
      const missing = (whole ?? 0) - sum(splits);
      if (missing > 0) {
        const part = el("span", { className: "part missing", title: `not built: ${missing}` });
        part.style.width = `${(100 * missing) / most}%`;
        parts.push(part);
      }
      return el("li", {},
        el("a", { className: "name", href }, label, mark ? el("em", {}, mark) : null),
        el("span", { className: "bar" }, parts),
        el("span", { className: "count" }, sum(splits).toLocaleString("en"), note ? el("small", {}, note) : null));
    }));
  }
}

const tile = (value, name) => el("div", { className: "tile" }, el("strong", {}, String(value)), el("span", {}, name));

const key = (splits) => el("p", { className: "key" },
  splits.map((split) => el("span", {}, el("i", { className: `part ${split}` }), words(split))));
