// One clip: the player beside its labels on the body map, and where everything came from.

import { clipAddress, duration, el, plural, showBodyMap, withCode, words } from "./dom.js";
import { Player } from "./player.js";

/** Fill the page with a clip; gives {leave, onKey}. */
export function showClip(content, clip, dataset, { back, go }) {
  const bodyMap = el("div", { className: "body-map large" });
  const regions = clip.regions.map((number) => dataset.regions[number].name);
  const player = clip.state === "built" ? new Player(clip, dataset.bones) : null;
  const place = clip.place ? `${clip.place.toLocaleString("en")} of ${clip.total.toLocaleString("en")}` : "";
  content.replaceChildren(
    el("div", { className: "clip-head" },
      el("a", { className: "plain", href: back }, "‹ all clips"),
      el("h1", {}, clip.activity_name),
      el("span", { className: `split ${clip.split}` }, words(clip.split)),
      el("span", { className: "turn" },
        el("button", { className: "plain", type: "button", title: "Clip before (k)", disabled: !clip.previous, onclick: () => go(clip.previous) }, "‹"),
        el("span", { className: "place" }, place),
        el("button", { className: "plain", type: "button", title: "Next clip (j)", disabled: !clip.next, onclick: () => go(clip.next) }, "›"))),
    el("div", { className: "clip" },
      el("div", { className: "watch" }, player ? player.element : missing(clip)),
      el("section", { className: "panel labels" },
        el("h2", {}, "Labels of the activity"),
        bodyMap,
        el("p", { className: "chips" }, regions.map((name) => el("span", { className: "chip" }, name))),
        clip.label && el("p", { className: "quiet" }, clip.label.description),
        clip.label && el("details", {},
          el("summary", {}, `How they were made (confidence: ${clip.label.confidence})`),
          el("ul", { className: "sources" }, clip.label.sources.map((source) => el("li", {}, source))),
          el("p", { className: "quiet" }, "Rules, database entries and figures: see annotations/README.md. No EMG was measured."))),
      el("section", { className: "panel origin" }, el("h2", {}, "Origin"), facts(clip)),
      clip.provenance && el("section", { className: "panel made" }, el("h2", {}, "How it was made"), provenance(clip.provenance, clip.timings))),
  );
  // Three shades where the activity table has grades for these very labels.
  const values = clip.grades ?? clip.muscles.map(Number);
  const told = (number) => clip.grades ? dataset.grade_names[clip.grades[number]] : clip.muscles[number] ? "active" : "not active";
  showBodyMap(bodyMap, "clip", dataset.regions, values, (number) => `${dataset.regions[number].name}: ${told(number)}`);
  return {
    leave: () => player?.close(),
    onKey: (event) => {
      if (event.key === "j" || event.key === "k") {
        go(event.key === "j" ? clip.next : clip.previous);
        return true;
      }
      return player ? player.onKey(event) : false;
    },
  };
}

function missing(clip) {
  if (!clip.failure) {
    return el("div", { className: "panel failure" }, el("h2", {}, "Not built yet"),
      el("p", {}, withCode("The clip is in the plan and waits for its turn: run `musclemap download`, then `musclemap extract-modalities`.")));
  }
  const { class: kind, stage, reason, next_step: step } = clip.failure;
  return el("div", { className: "panel failure" },
    el("h2", {}, `Failed: ${words(kind.replaceAll("-", "_"))}`),
    el("dl", {}, el("dt", {}, "Stage"), el("dd", {}, stage), el("dt", {}, "Reason"), el("dd", {}, reason),
      el("dt", {}, "Next step"), el("dd", {}, withCode(step))));
}

function facts(clip) {
  const link = /^https?:\/\//i.test(clip.url)
    ? el("a", { href: clip.url, target: "_blank", rel: "noopener noreferrer" }, clip.url)
    : clip.url;
  const end = clip.end_s == null ? "end" : `${clip.end_s.toFixed(2)} s`;
  const entries = [
    ["Clip", el("code", {}, clip.clip_id)],
    ["Video", el("code", {}, clip.video_id)],
    ["Address", link],
    ["Cut", `${clip.start_s.toFixed(2)} s – ${end}`],
    ["Size", clip.frames && `${plural(clip.frames, "frame")}, ${clip.width} × ${clip.height} px, ${Number(clip.fps.toFixed(3))} frames/s`],
    ["Title", clip.video.title],
    ["By", clip.video.uploader],
    ["Licence", clip.video.licence],
    ["Fetched with", clip.video.tool],
    ["Attempts", clip.attempts],
    ["Row", clip.shard && el("code", {}, `${clip.shard} row ${clip.row}`)],
    ["SHA-256 of the video", clip.source_sha256 && el("code", { className: "hash" }, clip.source_sha256)],
    ["Skeleton", clip.skeleton_sentence],
    ["Flow beyond the bound", clip.flow_clipped_share != null && `${(clip.flow_clipped_share * 100).toFixed(3)}% of ±${clip.flow_bound_px} px`],
  ];
  return el("dl", {}, entries.filter(([, value]) => value != null && value !== false && value !== "")
    .map(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value) === value || typeof value === "number" ? String(value) : value)]));
}

function provenance(made, timings) {
  const parts = Object.entries(made).map(([name, entry]) => {
    const { extractor, version, ...settings } = entry;
    return el("details", {},
      el("summary", {}, el("strong", {}, words(name.replaceAll("-", "_"))),
        extractor ? ` ${extractor} ${version}` : ""),
      el("pre", {}, JSON.stringify(settings.settings ?? settings, null, 1).replace(/^\{\n|\n\}$/g, "")));
  });
  const spent = Object.entries(timings ?? {});
  if (spent.length) {
    parts.push(el("p", { className: "quiet" }, `Built in ${duration(spent.reduce((sum, [, s]) => sum + s, 0))}: `,
      spent.sort((a, b) => b[1] - a[1]).map(([stage, s]) => `${words(stage.replaceAll("-", "_"))} ${s.toFixed(1)} s`).join(", ")));
  }
  return el("div", {}, parts);
}
