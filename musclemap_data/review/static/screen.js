// The video of a stretch: it loops between its borders, steps by frames, and shows where they are.

import { el } from "/static/dom.js";

const AROUND_S = 3;

export class Screen {
  /** `moved(start, end)` is called whenever the borders change here. */
  constructor(moved) {
    this.moved = moved;
    this.video = el("video", { muted: true, playsinline: true, preload: "auto", disablepictureinpicture: true });
    this.video.muted = true;
    this.message = el("p", { className: "no-video", hidden: true });
    this.counter = el("output", { className: "counter" });
    this.near = bar("near", "Around the clip");
    this.whole = bar("whole", "The whole video");
    this.play = el("button", { type: "button", className: "play", title: "Play or pause (space)", onclick: () => this.toggle() }, "❚❚");
    this.element = el("div", { className: "screen" },
      el("div", { className: "picture-frame" }, this.video, this.message),
      el("div", { className: "track" }, this.play, el("div", { className: "tracks" }, this.near, this.whole), this.counter));
    for (const each of [this.near, this.whole]) each.addEventListener("pointerdown", (event) => this.grab(event, each));
    this.video.addEventListener("error", () => this.cannotPlay());
    this.video.addEventListener("seeked", () => this.tell());
    this.video.addEventListener("play", () => this.play.replaceChildren("❚❚"));
    this.video.addEventListener("pause", () => this.play.replaceChildren("▶"));
    this.video.addEventListener("ended", () => { this.seek(this.start); this.video.play().catch(() => {}); });
    const watch = () => {
      this.loop();
      requestAnimationFrame(watch);
    };
    requestAnimationFrame(watch);
  }

  show(clip) {
    this.clip = clip;
    this.fps = clip.fps || 30;
    this.length = clip.duration_s;
    this.start = clip.start_s;
    this.end = clip.end_s ?? clip.duration_s ?? clip.start_s + 10;
    const there = Boolean(clip.video?.there);
    this.message.hidden = there;
    this.video.hidden = !there;
    if (!there) {
      this.message.textContent = "The video of this clip is not on this machine.";
      this.source = null;
      this.video.removeAttribute("src");
    } else {
      const source = `${clip.video_id}/${clip.video.file}`;
      if (source !== this.source) {
        this.source = source;
        this.video.src = `/api/clips/${encodeURIComponent(clip.clip)}/video`;
      }
      this.seek(this.start);
      this.video.play().catch(() => {});
    }
    this.draw();
  }

  cannotPlay() {
    if (!this.source) return;
    this.message.hidden = false;
    this.message.textContent = "This browser cannot play the video. Convert it, or try another browser (Chrome and Safari play the most).";
  }

  get frame() { return 1 / this.fps; }

  seek(seconds) {
    const last = (this.length ?? this.video.duration) || Infinity;
    this.video.currentTime = Math.min(Math.max(0, seconds), Math.max(0, last - this.frame / 2));
  }

  loop() {
    if (!this.clip || !this.source) return;
    this.tell();
    if (this.video.paused || this.video.seeking) return;
    if (this.video.currentTime >= this.end - this.frame / 2 || this.video.currentTime < this.start - this.frame) this.seek(this.start);
  }

  toggle() {
    if (!this.source) return;
    if (!this.video.paused) return this.video.pause();
    if (this.video.currentTime >= this.end - this.frame || this.video.currentTime < this.start) this.seek(this.start);
    this.video.play().catch(() => {});
  }

  /** So many frames on; in the middle of a frame, so that rounding cannot show its neighbour. */
  step(frames) {
    this.video.pause();
    const number = Math.floor(this.video.currentTime * this.fps + 0.01) + frames;
    this.seek((number + 0.5) / this.fps);
  }

  /** Move a border by frames, or to `at` seconds; what is at the border is shown. */
  shift(which, frames, at = null) {
    const from = at ?? (which === "start" ? this.start : this.end);
    const place = Math.round(from * this.fps + frames) / this.fps;
    const last = this.length ?? Infinity;
    if (which === "start") this.start = Math.min(Math.max(0, place), this.end - this.frame);
    else this.end = Math.max(Math.min(last, place), this.start + this.frame);
    this.video.pause();
    this.seek(which === "start" ? this.start + this.frame / 2 : this.end - this.frame / 2);
    this.draw();
    this.moved(this.start, this.end);
  }

  /** The beginning of the frame that is shown, seconds. */
  get here() { return Math.floor(this.video.currentTime * this.fps + 0.01) / this.fps; }

  grab(event, on) {
    const handle = event.target.closest(".border")?.dataset.border;
    const seconds = (at) => {
      const box = on.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (at.clientX - box.left) / box.width));
      return on.from + share * (on.to - on.from);
    };
    const follow = (at) => {
      if (handle) this.shift(handle, 0, seconds(at));
      else this.seek(seconds(at));
    };
    if (!handle) this.video.pause();
    on.setPointerCapture(event.pointerId);
    // While a border is dragged the scale stays as it is.
    this.held = Boolean(handle);
    follow(event);
    on.onpointermove = follow;
    on.onpointerup = on.onpointercancel = () => {
      on.onpointermove = on.onpointerup = on.onpointercancel = null;
      this.held = false;
      this.draw();
    };
  }

  draw() {
    const length = this.length ?? Math.max(this.end, ...this.clip.same_video.map((each) => each.end_s ?? 0));
    if (!this.held) {
      [this.near.from, this.near.to] = [Math.max(0, this.start - AROUND_S), Math.min(length, this.end + AROUND_S)];
      [this.whole.from, this.whole.to] = [0, length];
    }
    for (const on of [this.near, this.whole]) {
      const others = this.clip.same_video.filter((each) => each.clip !== this.clip.clip)
        .map((each) => span(on, each.start_s, each.end_s ?? length, `other ${each.state}`));
      const borders = on === this.near
        ? [["start", this.start], ["end", this.end]].map(([name, at]) => {
            const handle = el("i", { className: `border ${name}`, "data-border": name, title: name === "start" ? "Beginning: drag" : "End: drag" });
            handle.style.left = `${share(on, at)}%`;
            return handle;
          })
        : [];
      const repetitions = on === this.near
        ? this.clip.proposed.borders.filter((at) => at > on.from && at < on.to).map((at) => {
            const tick = el("i", { className: "repetition" });
            tick.style.left = `${share(on, at)}%`;
            return tick;
          })
        : [];
      on.replaceChildren(...others, span(on, this.start, this.end, "this"), ...repetitions, ...borders, on.head);
    }
    this.tell();
  }

  tell() {
    const now = this.video.currentTime || 0;
    for (const on of [this.near, this.whole]) on.head.style.left = `${share(on, now)}%`;
    this.counter.textContent = `${now.toFixed(2)} s · frame ${Math.floor(now * this.fps + 0.01)}`;
  }
}

function bar(name, title) {
  const made = el("div", { className: `bar-of ${name}`, title });
  made.head = el("i", { className: "head" });
  [made.from, made.to] = [0, 1];
  return made;
}

const share = (on, at) => 100 * Math.min(1, Math.max(0, (at - on.from) / (on.to - on.from || 1)));

function span(on, start, end, className) {
  const made = el("i", { className: `span ${className}` });
  made.style.left = `${share(on, start)}%`;
  made.style.width = `${Math.max(0.3, share(on, end) - share(on, start))}%`;
  return made;
}
