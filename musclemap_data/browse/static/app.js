// The page: where one is (in the address after #), the filters, and the list of clips.

import { showClip } from "./clip.js";
import { clickedRegion, clipAddress, duration, el, getJson, plural, showBodyMap, tellShare, withCode, words } from "./dom.js";
import { showStatistics } from "./statistics.js";

const PAGE_SIZE = 48;
const FILTERS = ["text", "split", "activity", "region", "state", "failure", "skeleton"];
const POLL_MS = 5000;

const content = document.getElementById("content");
const form = document.getElementById("filter-form");
const heatMap = document.getElementById("heat-map");

let dataset = null;
let leavePage = () => {};
let keysOfPage = () => false;
let shown = 0; // counts routes, so that a slow answer cannot overwrite a later page

// -- where one is --------------------------------------------------------------------------------

/** {page, id, filters, offset} of the address after #. */
function readAddress() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const parameters = new URLSearchParams(query);
  const filters = {};
  for (const name of FILTERS) if (parameters.get(name)) filters[name] = parameters.get(name);
  const [first, id] = path.split("/");
  const page = first === "clip" && id ? "clip" : first === "statistics" ? "statistics" : "clips";
  return {
    page,
    id: id ? decodeURIComponent(id) : null,
    filters,
    offset: Math.max(0, Number.parseInt(parameters.get("offset") ?? "0", 10) || 0),
  };
}

function addressOf(page, filters, offset = 0) {
  const query = new URLSearchParams(filters);
  if (offset) query.set("offset", offset);
  const text = query.toString();
  return `#/${page === "clips" ? "" : page}${text ? `?${text}` : ""}`;
}

const clipPage = (id, filters) => addressOf(`clip/${encodeURIComponent(id)}`, filters);

async function route({ quiet = false } = {}) {
  const here = readAddress();
  const number = ++shown;
  const isCurrent = () => number === shown;
  document.body.dataset.page = here.page;
  for (const link of document.querySelectorAll("nav a")) {
    link.href = addressOf(link.dataset.page, here.filters);
    const current = link.dataset.page === (here.page === "clip" ? "clips" : here.page);
    link.toggleAttribute("aria-current", current);
  }
  if (!quiet) {
    leavePage();
    leavePage = () => {};
    keysOfPage = () => false;
  }
  try {
    if (here.page === "clip") {
      const query = new URLSearchParams(here.filters).toString();
      const clip = await getJson(clipAddress(here.id, "", query ? `?${query}` : ""));
      if (!isCurrent()) return;
      const go = (id) => { if (id) location.hash = clipPage(id, here.filters); };
      const view = showClip(content, clip, dataset, { back: addressOf("clips", here.filters), go });
      leavePage = view.leave;
      keysOfPage = view.onKey;
      window.scrollTo(0, 0);
      return;
    }
    const query = new URLSearchParams(here.filters);
    if (here.page === "statistics") {
      const [counts, list] = await Promise.all([
        getJson(`/api/statistics?${query}`),
        getJson(`/api/clips?${query}&limit=0`),
      ]);
      if (!isCurrent()) return;
      fillFilters(here.filters, list);
      showStatistics(content, counts, dataset, {
        list: (filters) => addressOf("clips", { ...here.filters, ...filters }),
        filtered: Object.keys(here.filters).length > 0,
      });
    } else {
      const list = await getJson(`/api/clips?${query}&offset=${here.offset}&limit=${PAGE_SIZE}`);
      if (!isCurrent()) return;
      fillFilters(here.filters, list);
      showList(list, here);
      if (!quiet) window.scrollTo(0, 0);
    }
  } catch (error) {
    if (!isCurrent()) return;
    content.replaceChildren(
      el("div", { className: "empty" }, el("h2", {}, "That did not work"), el("p", {}, error.message),
        el("p", {}, el("a", { href: "#/" }, "All clips"))),
    );
  }
}

// -- filters -------------------------------------------------------------------------------------

function fillFilters(filters, list) {
  const { options } = list;
  const regionNames = Object.fromEntries(dataset.regions.map(({ slug, name }) => [slug, name]));
  const groups = {
    split: dataset.splits.map((split) => [split, words(split)]),
    activity: Object.entries(dataset.activities)
      .map(([slug, { name, new: isNew }]) => [slug, isNew ? `${name} (new)` : name])
      .sort((a, b) => a[1].localeCompare(b[1])),
    region: dataset.regions.map(({ slug, name }) => [slug, name]),
    state: ["built", "failed", "waiting"].map((state) => [state, state]),
    failure: Object.keys(dataset.failures).map((kind) => [kind, words(kind.replaceAll("-", "_"))]),
    skeleton: ["good", "doubtful", "bad"].map((quality) => [quality, quality]),
  };
  for (const [name, values] of Object.entries(groups)) {
    const select = form.elements[name];
    const chosen = filters[name] ?? "";
    select.replaceChildren(
      el("option", { value: "" }, "all"),
      ...values
        .filter(([value]) => options[name][value] || value === chosen)
        .map(([value, label]) =>
          el("option", { value }, `${label} · ${(options[name][value] ?? 0).toLocaleString("en")}`)),
    );
    select.value = chosen;
    select.closest(".field").hidden = ["failure", "skeleton"].includes(name) && select.options.length === 1;
    select.classList.toggle("chosen", Boolean(chosen));
  }
  const text = form.elements.text;
  if (document.activeElement !== text) text.value = filters.text ?? "";
  const count = Object.keys(filters).filter((name) => name !== "text").length;
  document.getElementById("filter-count").textContent = count ? `(${count})` : "";
  document.getElementById("clear").hidden = Object.keys(filters).length === 0;
  heatMap.title = filters.region ? `chosen: ${regionNames[filters.region]}` : "";
  showBodyMap(heatMap, "filter", dataset.regions, list.region_shares, (number) =>
    tellShare(dataset, list.region_shares, number)).then(() => {
    for (const part of heatMap.querySelectorAll(`[data-region="${filters.region}"]`)) {
      part.classList.add("chosen");
    }
  });
}

function setFilters(changes) {
  const here = readAddress();
  const filters = { ...here.filters, ...changes };
  for (const name of FILTERS) if (!filters[name]) delete filters[name];
  const page = here.page === "statistics" ? "statistics" : "clips";
  const address = addressOf(page, filters);
  if (address !== location.hash) location.hash = address;
}

let typing = 0;
form.addEventListener("input", (event) => {
  clearTimeout(typing);
  const { name, value } = event.target;
  typing = setTimeout(() => setFilters({ [name]: value.trim() }), name === "text" ? 200 : 0);
});
form.addEventListener("submit", (event) => event.preventDefault());
document.getElementById("clear").addEventListener("click", () => {
  form.elements.text.value = "";
  setFilters(Object.fromEntries(FILTERS.map((name) => [name, ""])));
});
heatMap.addEventListener("click", (event) => {
  const region = clickedRegion(event);
  if (region) setFilters({ region: readAddress().filters.region === region ? "" : region });
});

// -- the list ------------------------------------------------------------------------------------

function showList(list, { filters, offset }) {
  const last = Math.min(offset + PAGE_SIZE, list.total);
  const turn = (label, to, enabled) =>
    enabled
      ? el("a", { className: "plain", href: addressOf("clips", filters, to) }, label)
      : el("span", { className: "plain off" }, label);
  const pager = list.total > PAGE_SIZE &&
    (() => el("nav", { className: "pager", "aria-label": "List" },
      turn("‹ before", Math.max(0, offset - PAGE_SIZE), offset > 0),
      el("span", {}, `${(offset + 1).toLocaleString("en")}–${last.toLocaleString("en")} of ${list.total.toLocaleString("en")}`),
      turn("next ›", offset + PAGE_SIZE, last < list.total)));
  content.replaceChildren(
    el("div", { className: "list-head" }, el("h1", {}, plural(list.total, "clip")), pager && pager()),
    list.clips.length
      ? el("ul", { className: "grid" }, list.clips.map((clip) => card(clip, filters)))
      : el("div", { className: "empty" }, el("h2", {}, "No clip fits these filters"),
          el("p", {}, "Clear some of them, or look for another word.")),
    pager ? pager() : "",
  );
  keysOfPage = (event) => {
    if (event.key === "j" && list.clips.length) location.hash = clipPage(list.clips[0].clip_id, filters);
    return event.key === "j";
  };
}

function card(clip, filters) {
  const regions = clip.regions.map((number) => dataset.regions[number].name);
  const picture = clip.state === "built"
    ? el("img", { src: clipAddress(clip, "/thumbnail"), alt: "", loading: "lazy", width: 320, height: 200 })
    : el("div", { className: "missing" },
        el("strong", {}, clip.failure ? words(clip.failure.class.replaceAll("-", "_")) : "waiting"),
        clip.failure && el("span", { className: "reason" }, clip.failure.reason));
  return el("li", {},
    el("a", { className: `card ${clip.state}`, href: clipPage(clip.clip_id, filters) },
      el("div", { className: "picture" }, picture,
        clip.state === "built" && el("span", { className: "length" }, `${clip.seconds.toFixed(1)} s`)),
      el("div", { className: "text" },
        el("strong", {}, clip.activity_name),
        el("span", { className: `split ${clip.split}` }, words(clip.split)),
        el("span", { className: "id" }, clip.clip_id),
        clip.failure
          ? el("span", { className: "next-step" }, "Next: ", withCode(clip.failure.next_step))
          : el("span", { className: "regions", title: regions.join(", ") },
              `${plural(regions.length, "region")}: ${regions.join(", ")}`))));
}

// -- the frame around it -------------------------------------------------------------------------

function showDataset() {
  const { clips } = dataset;
  const parts = [
    dataset.name,
    plural(clips.built, "clip"),
    duration(dataset.seconds),
    clips.failed ? `${clips.failed.toLocaleString("en")} failed` : null,
    clips.waiting ? `${clips.waiting.toLocaleString("en")} waiting` : null,
  ];
  document.title = `${dataset.name} · MuscleMap`;
  document.getElementById("about").textContent = parts.filter(Boolean).join(" · ");
  const notices = dataset.problems.map((text) => el("p", { className: "notice bad" }, text));
  if (dataset.synthetic) {
    notices.push(el("p", { className: "notice" },
      el("strong", {}, "Synthetic videos. "), "The embedded sample: drawn by a program, nobody was filmed."));
  }
  if (!dataset.complete) {
    notices.push(el("p", { className: "notice" }, "The first build has not ended: shards appear here as they are written."));
  }
  document.getElementById("notices").replaceChildren(...notices);
}

async function poll() {
  if (document.hidden) return;
  try {
    const found = await getJson("/api/dataset");
    if (found.version === dataset.version) return;
    dataset = found;
    showDataset();
    if (readAddress().page !== "clip") route({ quiet: true });
  } catch {
    // The server has ended or is busy; the next call may find it again.
  }
}

const THEMES = ["auto", "light", "dark"];

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  document.getElementById("theme").title = `Light or dark: ${theme}`;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // Storage may be switched off: then it lasts until the page is left.
  }
}

document.getElementById("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme ?? "auto";
  setTheme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
});
const keys = document.getElementById("keys");
document.getElementById("help").addEventListener("click", () => keys.showModal());

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
  const typed = event.target.closest("input:not([type=range], [type=checkbox]), select, textarea");
  if (event.key === "Escape") {
    if (typed) typed.blur();
    else if (readAddress().page === "clip") location.hash = addressOf("clips", readAddress().filters);
    return;
  }
  if (typed) return;
  if (event.key === "/") {
    event.preventDefault();
    form.elements.text.focus();
  } else if (event.key === "?") {
    keys.showModal();
  } else if (keysOfPage(event)) {
    event.preventDefault();
  }
});

let theme = "auto";
try {
  theme = localStorage.getItem("theme") ?? "auto";
} catch {
  // See setTheme.
}
setTheme(THEMES.includes(theme) ? theme : "auto");
// On a wide page the filters are always open; on a phone they start closed.
const wide = window.matchMedia("(min-width: 900px)");
const more = document.getElementById("more-filters");
more.open = wide.matches;
wide.addEventListener("change", () => { more.open = wide.matches; });

try {
  dataset = await getJson("/api/dataset");
  showDataset();
  window.addEventListener("hashchange", () => route());
  setInterval(poll, POLL_MS);
  await route();
} catch (error) {
  content.replaceChildren(el("div", { className: "empty" }, el("h2", {}, "No data set"), el("p", {}, error.message)));
}
