// The list: however long it is, only the rows in sight are in the page, and a few pages in memory.

import { el } from "/static/dom.js";

const ROW_PX = 54;
const PAGE = 50;
const PAGES_KEPT = 8;

export class List {
  /** `load(offset, limit)` gives {total, clips}; `choose(clip)` is called with a row's id. */
  constructor(holder, load, choose) {
    this.holder = holder;
    this.load = load;
    this.choose = choose;
    this.space = el("div", { className: "space" });
    holder.append(this.space);
    this.forget();
    holder.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.total != null && this.draw()).observe(holder);
  }

  forget() {
    this.round = (this.round ?? 0) + 1; // answers that come late are of an older list
    this.pages = new Map();
    this.total = null;
  }

  /** Another filter: begin at the top. */
  async restart() {
    this.forget();
    this.holder.scrollTop = 0;
    await this.draw();
  }

  /** Something was decided: read again what is in sight. */
  async refresh() {
    this.forget();
    await this.draw();
  }

  page(number) {
    if (!this.pages.has(number)) {
      const round = this.round;
      const wanted = this.load(number * PAGE, PAGE).then((found) => {
        if (round === this.round) this.total = found.total;
        return found.clips;
      });
      this.pages.set(number, wanted);
      while (this.pages.size > PAGES_KEPT) this.pages.delete(this.pages.keys().next().value);
    }
    return this.pages.get(number);
  }

  async draw() {
    const round = this.round;
    const first = Math.max(0, Math.floor(this.holder.scrollTop / ROW_PX) - 3);
    const last = Math.ceil((this.holder.scrollTop + this.holder.clientHeight) / ROW_PX) + 3;
    const drawing = (this.drawing = Symbol("the newest drawing"));
    const pages = [];
    for (let number = Math.floor(first / PAGE); number * PAGE <= last; number += 1) {
      if (this.total != null && number && number * PAGE >= this.total) break;
      pages.push(this.page(number).then((clips) => clips.map((clip, at) => [number * PAGE + at, clip])));
    }
    const rows = (await Promise.all(pages)).flat();
    if (round !== this.round || drawing !== this.drawing) return;
    this.space.style.height = `${this.total * ROW_PX}px`;
    this.space.replaceChildren(
      ...rows.filter(([place]) => place >= first && place < last).map(([place, clip]) => this.row(place, clip)),
    );
    if (!this.total) this.space.replaceChildren(el("p", { className: "quiet none" }, "Nothing here."));
  }

  row(place, clip) {
    const end = clip.end_s == null ? "end" : clip.end_s.toFixed(1);
    const row = el("button", {
      type: "button", className: `row ${clip.state}`, role: "option", "data-clip": clip.clip,
      "aria-selected": String(clip.clip === this.chosen), tabindex: -1,
      onclick: () => this.choose(clip.clip),
    },
      el("strong", {}, clip.activity_name || "no label"),
      el("span", { className: "sure" }, clip.confidence == null ? "" : `${Math.round(100 * clip.confidence)}%`),
      el("span", { className: "where" }, `${clip.video_id} · ${clip.start_s.toFixed(1)}–${end} s`),
      clip.reviewer && el("span", { className: "who" }, clip.reviewer));
    row.style.top = `${place * ROW_PX}px`;
    return row;
  }

  /** Mark a row, and bring it into sight if its place is known. */
  select(clip, place) {
    this.chosen = clip;
    if (place != null) {
      const top = place * ROW_PX;
      const { scrollTop, clientHeight } = this.holder;
      if (top < scrollTop || top + ROW_PX > scrollTop + clientHeight) {
        this.holder.scrollTop = Math.max(0, top - clientHeight / 3);
      }
    }
    for (const row of this.space.querySelectorAll(".row")) {
      row.setAttribute("aria-selected", String(row.dataset.clip === clip));
    }
  }
}
