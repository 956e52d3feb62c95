// The page: what is looked at, the keys, and the decisions, each of which is written at once.

import { el, getJson, plural, showBodyMap, words } from "/static/dom.js";
import { List } from "./list.js";
import { Screen } from "./screen.js";

const SETTLE_MS = 400; // borders are written once they have not moved for so long
const STATES = { open: "to do", accepted: "accepted", rejected: "rejected", "left-out": "left out by segment", "": "all" };

const byId = (id) => document.getElementById(id);
const work = byId("work");
const filter = byId("filter");
const relabelDialog = byId("relabel");
const rejectDialog = byId("reject");

let review = null;
let activities = new Map();
let clip = null; // as the server last told it
let label = ""; // as it stands here
let settling = 0;
let writing = Promise.resolve(); // decisions are sent one after the other
let deciding = false;
let asked = 0;

const screen = new Screen(() => {
  showFacts();
  clearTimeout(settling);
  settling = setTimeout(flushBorders, SETTLE_MS);
});
const list = new List(byId("list"), (offset, limit) => getJson(`/api/clips?${query()}&offset=${offset}&limit=${limit}`), (id) => go(id));

const query = () => new URLSearchParams(new FormData(filter)).toString();
const address = (id) => `/api/clips/${encodeURIComponent(id)}?${query()}`;

async function post(path, body) {
  const response = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `the server answered ${response.status}`);
  return answer;
}

/** Do one thing after what is under way; a refusal is said, and nothing after it depends on it. */
function then(action) {
  writing = writing.then(action).catch((error) => say(error.message, "bad"));
  return writing;
}

function say(text, kind = "") {
  const holder = byId("said");
  holder.textContent = text;
  holder.className = `said shown ${kind}`;
  clearTimeout(holder.timer);
  holder.timer = setTimeout(() => { holder.className = "said"; }, kind === "bad" ? 6000 : 1800);
}

function showCounts(counts) {
  review.counts = counts;
  const done = counts.accepted + counts.rejected;
  byId("counts").replaceChildren(
    el("strong", {}, `${counts.open.toLocaleString("en")} to do`),
    ` · ${counts.accepted.toLocaleString("en")} accepted · ${counts.rejected.toLocaleString("en")} rejected`,
    el("progress", { max: Math.max(1, done + counts.open), value: done, title: "decided" }));
  for (const option of filter.elements.state.options) {
    const count = option.value ? counts[option.value] : null;
    option.textContent = count == null ? STATES[option.value] : `${STATES[option.value]} · ${count.toLocaleString("en")}`;
  }
}

// -- one clip ------------------------------------------------------------------------------------

async function go(id) {
  await flushBorders();
  const number = ++asked;
  if (!id) return nothing();
  try {
    const found = await getJson(address(id));
    if (number !== asked) return;
    showClip(found);
  } catch (error) {
    say(error.message, "bad");
  }
}

/** The first clip of the list, or a word that there is none. */
async function goFirst() {
  const { clips } = await getJson(`/api/clips?${query()}&limit=1`);
  await go(clips[0]?.clip);
}

function nothing() {
  clip = null;
  screen.video.pause();
  const isDone = filter.elements.state.value === "open" && !filter.elements.text.value;
  work.replaceChildren(el("div", { className: "empty" },
    el("h2", {}, isDone ? "All decided" : "Nothing fits"),
    el("p", {}, isDone ? "What is in the list was decided. Close this page; the command line names what comes next." : "Choose another state, or search for another word.")));
}

function showClip(found) {
  clip = found;
  label = found.activity;
  location.hash = `#${encodeURIComponent(found.clip)}`;
  const buttons = [
    ["accept", "Accept", "enter", accept], ["reject", "Reject", "x", askReason], ["relabel", "Label", "l", askLabel],
    ["split", "Split here", "s", split], ["undo", "Undo", "u", undo],
  ].map(([name, text, key, action]) => el("button", { type: "button", className: `act ${name}`, onclick: action }, text, el("kbd", {}, key)));
  const border = (name, text, keys) => el("div", { className: "border-row" }, el("span", {}, text),
    [["−10", -10], ["−1", -1], ["+1", 1], ["+10", 10]].map(([sign, frames]) =>
      el("button", { type: "button", className: "plain", title: `${text} ${sign} frames`, onclick: () => screen.shift(name, frames) }, sign)),
    el("output", { id: `${name}-at` }), el("kbd", {}, keys[0]), el("kbd", {}, keys[1]));
  work.replaceChildren(
    el("div", { className: "clip-head" },
      el("h1", { id: "label" }),
      el("span", { className: "state-chip", id: "state" }),
      el("span", { className: "turn" },
        el("button", { className: "plain", type: "button", title: "Before (k)", disabled: !found.previous, onclick: () => go(found.previous) }, "‹"),
        el("span", { className: "place" }, found.place == null ? "" : `${(found.place + 1).toLocaleString("en")} of ${found.total.toLocaleString("en")}`),
        el("button", { className: "plain", type: "button", title: "Next (j)", disabled: !found.next, onclick: () => go(found.next) }, "›"))),
    el("div", { className: "two" },
      el("div", { className: "watch" }, screen.element,
        el("div", { className: "acts" }, buttons),
        el("div", { className: "borders" }, border("start", "Beginning", ["q", "w"]), border("end", "End", ["e", "r"]))),
      el("div", { className: "beside-video" },
        el("section", { className: "panel" }, el("div", { className: "body-map", id: "map" }), el("p", { className: "quiet", id: "regions" })),
        el("section", { className: "panel", id: "facts" }))));
  screen.show(found);
  showLabel();
  showFacts();
  list.select(found.clip, found.place);
}

function showLabel() {
  const known = activities.get(label);
  byId("label").textContent = known?.name ?? (label || "No label yet");
  byId("state").textContent = STATES[clip.state] + (clip.reviewer ? ` by ${clip.reviewer}` : "");
  byId("state").className = `state-chip ${clip.state}`;
  showMap(byId("map"), "label", known);
  byId("regions").textContent = known
    ? review.regions.filter((_, number) => known.grades[number]).map(({ name }) => name).join(", ")
    : "Press l to choose what it is.";
}

function showMap(holder, name, known) {
  const grades = known?.grades ?? Array(20).fill(0);
  showBodyMap(holder, name, review.regions, grades, (number) => `${review.regions[number].name}: ${review.grade_names[grades[number]]}`);
}

function showFacts() {
  if (!clip) return;
  byId("start-at").textContent = `${screen.start.toFixed(2)} s`;
  byId("end-at").textContent = `${screen.end.toFixed(2)} s`;
  const { proposed, video } = clip;
  const name = (slug) => activities.get(slug)?.name ?? slug;
  const link = video && /^https?:\/\//i.test(video.url)
    ? el("a", { href: video.url, target: "_blank", rel: "noopener noreferrer" }, video.url) : video?.file;
  const entries = [
    ["Length", `${(screen.end - screen.start).toFixed(2)} s`],
    ["Proposed", `${name(proposed.activity) || "no label"}, ${proposed.start_s.toFixed(2)}–${proposed.end_s == null ? "end" : proposed.end_s.toFixed(2)} s`],
    ["A model says", proposed.suggested && proposed.suggested !== proposed.activity ? `rather ${name(proposed.suggested)}` : name(proposed.suggested)],
    ["Repetitions", proposed.hold ? "a hold" : proposed.repetitions],
    ["Sure", clip.confidence == null ? null : `${Math.round(100 * clip.confidence)}%`],
    ["Why", proposed.reasons],
    ["Left out", proposed.left_out],
    ["Rejected", clip.state === "rejected" ? clip.reason : null],
    ["Clip", el("code", {}, clip.clip)],
    ["Video", link],
    ["Title", video?.title], ["By", video?.uploader], ["Licence", video?.licence],
  ];
  byId("facts").replaceChildren(el("dl", {}, entries.filter(([, value]) => value != null && value !== "")
    .map(([title, value]) => [el("dt", {}, title), el("dd", {}, value)])));
}

// -- decisions -----------------------------------------------------------------------------------

const same = (a, b) => Math.abs(a - b) < 0.0005;

/** Write borders that have moved; gives the answer once everything before it is written. */
function flushBorders() {
  clearTimeout(settling);
  if (!clip || (same(screen.start, clip.start_s) && (clip.end_s == null ? same(screen.end, clip.duration_s ?? screen.end) : same(screen.end, clip.end_s)))) return writing;
  const [id, start_s, end_s] = [clip.clip, screen.start, screen.end];
  clip.start_s = start_s;
  clip.end_s = end_s;
  return then(async () => {
    const answer = await post("/api/decisions", { kind: "move", clip: id, start_s, end_s });
    await decided(answer);
    if (clip?.clip === id && clip.state === "rejected") await go(id);
  });
}

async function decided(answer, text) {
  showCounts(answer.counts);
  if (text) say(text);
  await list.refresh();
}

async function decide(body, text, next) {
  if (!clip || deciding) return; // a key that comes twice decides once
  const id = clip.clip;
  deciding = true;
  flushBorders();
  await then(async () => {
    const answer = await post("/api/decisions", { clip: id, ...body });
    await decided(answer, text);
    await show(next(answer));
  });
  deciding = false;
}

/** Like `go`, for what is itself waited for by later decisions. */
async function show(id) {
  const number = ++asked;
  if (!id) return nothing();
  const found = await getJson(address(id));
  if (number === asked) showClip(found);
}

const following = () => clip.next ?? (clip.state === "open" && filter.elements.state.value === "open" ? clip.previous : clip.clip);

function accept() {
  if (!clip) return;
  if (!activities.has(label)) return askLabel();
  const next = following();
  decide({ kind: "accept" }, "accepted", () => next);
}

function reject(reason) {
  const next = following();
  decide({ kind: "reject", reason }, `rejected: ${reason}`, () => next);
}

function split() {
  if (!clip) return;
  decide({ kind: "split", split_at_s: screen.here }, "split in two", ({ clip: id }) => `${id}.1`);
}

function undo() {
  flushBorders();
  then(async () => {
    const answer = await post("/api/undo", {});
    await decided(answer, "undone");
    await show(answer.clip);
  });
}

function askReason() {
  if (!clip) return;
  screen.video.pause();
  byId("other-reason").reset();
  rejectDialog.showModal();
  rejectDialog.focus();
}

byId("other-reason").addEventListener("submit", (event) => {
  const reason = event.target.elements.reason.value.trim();
  if (reason) reject(reason);
  else event.preventDefault();
});
rejectDialog.addEventListener("keydown", (event) => {
  if (event.target.closest("input") || !/^[1-9]$/.test(event.key)) return;
  const reason = review.reasons[Number(event.key) - 1];
  if (!reason) return;
  event.preventDefault();
  rejectDialog.close();
  reject(reason);
});

// -- another label -------------------------------------------------------------------------------

let choices = [];
let chosen = 0;

const plain = (text) => text.toLowerCase().replace(/[^a-z0-9]+/g, " ").trim();

function findActivities(text) {
  const wanted = plain(text).split(" ").filter(Boolean);
  const first = [clip.proposed.suggested, clip.proposed.activity, label];
  const ranked = [];
  for (const each of activities.values()) {
    const names = [each.name, each.slug, ...each.aliases].map(plain);
    if (!wanted.every((word) => names.some((name) => name.includes(word)))) continue;
    const begins = (name) => name.startsWith(wanted.join(" "));
    let place = first.indexOf(each.slug) >= 0 ? first.indexOf(each.slug) - first.length : 0;
    if (wanted.length) place = plain(each.name) === wanted.join(" ") ? -3 : begins(plain(each.name)) ? -2 : names.some(begins) ? -1 : 0;
    ranked.push([place, each]);
  }
  return ranked.sort((a, b) => a[0] - b[0] || a[1].name.localeCompare(b[1].name)).map(([, each]) => each);
}

function askLabel() {
  if (!clip) return;
  byId("relabel-text").value = "";
  relabelDialog.showModal();
  byId("relabel-text").focus();
  showChoices();
}

function showChoices() {
  choices = findActivities(byId("relabel-text").value);
  choose(0);
}

function choose(number) {
  chosen = Math.min(Math.max(0, number), choices.length - 1);
  byId("relabel-list").replaceChildren(...choices.map((each, place) =>
    el("li", {
      role: "option", "aria-selected": String(place === chosen),
      onclick: () => { choose(place); take(); }, onmousemove: () => { if (place !== chosen) choose(place); },
    }, each.name, each.new && el("em", {}, "new"))));
  byId("relabel-list").children[chosen]?.scrollIntoView({ block: "nearest" });
  showMap(byId("relabel-map"), "relabel", choices[chosen]);
}

function take() {
  const found = choices[chosen];
  relabelDialog.close();
  if (!found || !clip || found.slug === label) return;
  decide({ kind: "relabel", activity: found.slug }, `label: ${found.name}`, ({ clip: id }) => id);
}

byId("relabel-text").addEventListener("input", showChoices);
relabelDialog.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    choose(chosen + (event.key === "ArrowDown" ? 1 : -1));
  } else if (event.key === "Enter") {
    event.preventDefault();
    take();
  }
});

// -- keys ----------------------------------------------------------------------------------------

const KEYS = {
  Enter: accept, x: askReason, l: askLabel, s: split, u: undo,
  " ": () => screen.toggle(),
  i: () => screen.shift("start", 0, screen.here), o: () => screen.shift("end", 1, screen.here),
  j: () => clip?.next && go(clip.next), k: () => clip?.previous && go(clip.previous),
  "/": () => filter.elements.text.focus(), "?": () => byId("keys").showModal(),
};
const FRAMES = { q: ["start", -1], w: ["start", 1], e: ["end", -1], r: ["end", 1] };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape" || event.key === "Enter") event.target.blur();
    return;
  }
  if (["Enter", " "].includes(event.key) && event.target.closest("button, a")) return; // reached by tab
  const many = event.shiftKey ? 10 : 1;
  const key = event.key.length === 1 && event.key !== "?" ? event.key.toLowerCase() : event.key;
  if (clip && FRAMES[key]) screen.shift(FRAMES[key][0], many * FRAMES[key][1]);
  else if (clip && (key === "ArrowLeft" || key === "ArrowRight")) screen.step((key === "ArrowLeft" ? -1 : 1) * many);
  else if (KEYS[key] && !event.repeat) KEYS[key]();
  else return;
  event.preventDefault();
});
byId("help").addEventListener("click", () => byId("keys").showModal());
// A button that was clicked must not answer the next key.
document.addEventListener("click", (event) => event.target.closest(".work button, .row")?.blur());

let typing = 0;
filter.addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(async () => {
    await flushBorders();
    await list.restart();
    await goFirst();
  }, event.target.name === "text" ? 200 : 0);
});
filter.addEventListener("submit", (event) => event.preventDefault());
// A closed page has written its borders: the request outlives it.
addEventListener("pagehide", () => {
  if (!clip || (same(screen.start, clip.start_s) && same(screen.end, clip.end_s ?? screen.end))) return;
  navigator.sendBeacon("/api/decisions", JSON.stringify({ kind: "move", clip: clip.clip, start_s: screen.start, end_s: screen.end }));
});

// -- the beginning -------------------------------------------------------------------------------

try {
  review = await getJson("/api/review");
  activities = new Map(review.activities.map((each) => [each.slug, each]));
  document.title = `Review · ${review.name}`;
  const what = review.built ? "built clips" : "proposals";
  byId("about").textContent = `${review.name} · ${what} of ${plural(review.videos, "video")} · you are ${review.reviewer}${review.blind ? ", blind" : ""}`;
  const states = review.built ? ["open", "accepted", "rejected", ""] : ["open", "accepted", "rejected", "left-out", ""];
  filter.elements.state.replaceChildren(...states.map((state) => el("option", { value: state }, STATES[state])));
  byId("reasons").replaceChildren(...review.reasons.map((reason) =>
    el("li", {}, el("button", { type: "button", className: "plain", onclick: () => { rejectDialog.close(); reject(reason); } }, words(reason)))));
  showCounts(review.counts);
  await list.restart();
  const named = decodeURIComponent(location.hash.slice(1));
  await (named ? go(named).then(() => clip ?? goFirst()) : goFirst());
} catch (error) {
  work.replaceChildren(el("div", { className: "empty" }, el("h2", {}, "That did not work"), el("p", {}, error.message)));
}
