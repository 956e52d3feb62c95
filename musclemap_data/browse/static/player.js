// Plays a clip: a panel for each modality of pictures, flow in colour, and the skeleton, in step.
//
// Frames are the JPEGs of the shard row. A frame is shown only when every modality has it, so the
// panels never drift apart.

import { clipAddress, el } from "./dom.js";
import { flowColours, flowPicture, drawWheel } from "./flow.js";

const SPEEDS = [0.1, 0.25, 0.5, 1, 2];
const FLOW_SCALES = [1, 2, 4, 8, 20];
const DECODED_BYTES = 96 * 2 ** 20;
const AHEAD = 12; // frames decoded ahead
const FETCHES = 2; // at a time, for each modality
const LEAST_SCORE = 0.3; // joints below are not drawn
const style = getComputedStyle(document.documentElement);
const [LEFT, RIGHT, MIDDLE] = ["--left", "--right", "--middle"].map((name) => style.getPropertyValue(name));
const BROKEN = Symbol("a frame that cannot be read");

/** The frames of one modality: fetched once, kept as JPEG, some of them decoded. */
class Frames {
  constructor(clip, column, count, onChange) {
    this.count = count;
    this.address = (number) => clipAddress(clip, `/${column}/${number}`);
    this.blobs = new Array(count).fill(null);
    this.decoded = new Map();
    this.pending = new Set();
    this.kept = Math.max(AHEAD + 2, Math.floor(DECODED_BYTES / (clip.width * clip.height * 4 * (column === "flow" ? 2 : 1))));
    this.onChange = onChange;
    this.abort = new AbortController();
    this.position = 0;
    this.fetched = 0;
    for (let n = 0; n < FETCHES; n++) this.fetchAll();
  }

  async fetchAll() {
    while (!this.abort.signal.aborted) {
      const number = this.nextMissing();
      if (number < 0) return;
      this.blobs[number] = "asked";
      try {
        const response = await fetch(this.address(number), { signal: this.abort.signal });
        this.blobs[number] = response.ok ? await response.blob() : BROKEN;
      } catch {
        if (this.abort.signal.aborted) return;
        this.blobs[number] = BROKEN;
      }
      this.fetched++;
      this.onChange();
    }
  }

  nextMissing() {
    for (let n = 0; n < this.count; n++) {
      const number = (this.position + n) % this.count;
      if (this.blobs[number] === null) return number;
    }
    return -1;
  }

  /** The bitmap of a frame, BROKEN, or null as long as it is not there yet. */
  get(number) {
    this.position = number;
    for (let n = 0; n < Math.min(AHEAD, this.count); n++) this.decode((number + n) % this.count);
    return this.decoded.get(number) ?? null;
  }

  async decode(number) {
    const blob = this.blobs[number];
    if (this.decoded.has(number) || this.pending.has(number) || blob === null || blob === "asked") return;
    this.pending.add(number);
    const picture = blob === BROKEN ? BROKEN : await createImageBitmap(blob).catch(() => BROKEN);
    this.pending.delete(number);
    if (this.abort.signal.aborted) return picture.close?.();
    this.decoded.set(number, picture);
    for (const [old, bitmap] of this.decoded) {
      if (this.decoded.size <= this.kept) break;
      bitmap.close?.();
      this.decoded.delete(old);
    }
    this.onChange();
  }

  close() {
    this.abort.abort();
    for (const picture of this.decoded.values()) picture.close?.();
    this.decoded.clear();
  }
}

export class Player {
  constructor(clip, bones) {
    this.clip = clip;
    this.bones = bones;
    this.frame = 0;
    this.playing = false;
    this.speed = 1;
    this.flowScale = 4;
    this.owed = 0;
    this.closed = false;
    this.skeleton = null;
    this.frames = {};
    const redraw = () => this.requestDraw();
    this.waitsForSkeleton = Boolean(clip.skeleton_people);
    if (this.waitsForSkeleton) this.loadSkeleton(); // first: it is small, and every frame needs it
    for (const [column, count] of Object.entries(clip.pictures)) {
      if (count) this.frames[column] = new Frames(clip, column, count, redraw);
    }
    this.colours = flowColours(clip.flow_bound_px ?? 20, this.flowScale);
    this.element = this.build();
    this.resizes = new ResizeObserver(redraw);
    this.resizes.observe(this.element);
    this.requestDraw();
  }

  // -- what it is made of ------------------------------------------------------------------------

  build() {
    const { clip } = this;
    this.panels = [];
    const panel = (name, draw, extra) => {
      const canvas = el("canvas", { role: "img", "aria-label": `${name} of ${clip.clip_id}` });
      canvas.style.aspectRatio = `${clip.width} / ${clip.height}`;
      canvas.style.setProperty("--aspect", clip.width / clip.height);
      const figure = el("figure", {}, canvas,
        el("figcaption", {}, el("button", { type: "button", title: "Show large", onclick: () => this.enlarge(figure) }, name), extra));
      this.panels.push({ figure, canvas, draw });
    };
    const overlay = el("input", { type: "checkbox", checked: true, onchange: () => this.requestDraw(),
      // After a click with the mouse the keys are the player's again.
      onclick: (event) => event.detail && overlay.blur() });
    this.overlay = overlay;
    for (const { column, title, gain } of clip.panels.filter(({ column }) => this.frames[column])) {
      if (column === "rgb") {
        panel(title, (context) => {
          this.drawPicture(context, column);
          if (overlay.checked) this.drawSkeleton(context);
        }, clip.skeleton_people ? el("label", {}, overlay, " skeleton") : null);
      } else if (column === "flow") {
        panel(title, (context) => this.drawFlow(context), this.flowNote = el("span", {}));
      } else {
        panel(title, (context) => this.drawBrighter(context, column, gain), gain > 1 ? el("span", {}, `× ${gain}`) : null);
      }
    }
    if (clip.skeleton_people) panel("Skeleton", (context) => this.drawSkeletonAlone(context), el("span", {}, el("i", { className: "left" }, "left"), " ", el("i", { className: "right" }, "right")));
    this.panels[0]?.figure.classList.add("large");

    this.playButton = el("button", { type: "button", className: "play", title: "Play or pause (space)", onclick: () => this.toggle() });
    this.slider = el("input", { type: "range", min: 0, max: clip.frames - 1, value: 0, step: 1, "aria-label": "Frame",
      oninput: () => { this.playing = false; this.seek(Number(this.slider.value)); } });
    this.counter = el("output", { className: "counter", "data-frame": 0 });
    const speed = el("select", { "aria-label": "Speed", onchange: () => { this.speed = Number(speed.value); } },
      SPEEDS.map((value) => el("option", { value, selected: value === 1 }, `${value}×`)));
    const controls = el("div", { className: "controls" }, this.playButton, this.slider, this.counter, speed);
    return el("div", { className: "player" },
      this.panels.length ? el("div", { className: "screens" }, this.panels.map(({ figure }) => figure))
        : el("p", { className: "panel" }, "No modality of this clip was extracted."),
      this.panels.length ? controls : "",
      this.frames.flow ? this.legend() : "");
  }

  legend() {
    const wheel = el("canvas", { width: 112, height: 112, className: "wheel", role: "img", "aria-label": "Colour wheel of the flow: right is red, down is yellow-green, left is cyan, up is violet" });
    const scale = el("select", { "aria-label": "Flow scale", onchange: () => {
      this.flowScale = Number(scale.value);
      this.colours = flowColours(this.clip.flow_bound_px, this.flowScale);
      this.requestDraw();
    } }, FLOW_SCALES.map((value) => el("option", { value, selected: value === this.flowScale }, `${value} px`)));
    drawWheel(wheel);
    return el("div", { className: "legend" }, wheel,
      el("p", {}, "Flow: the colour is the direction, its strength the speed, full at ", scale, " a frame; white is no motion. Stored over ±", String(this.clip.flow_bound_px), " px."));
  }

  enlarge(figure) {
    for (const other of this.panels) other.figure.classList.toggle("large", other.figure === figure);
    this.requestDraw();
  }

  async loadSkeleton() {
    try {
      const response = await fetch(clipAddress(this.clip, "/skeleton"));
      if (response.ok) this.skeleton = new Float32Array(await response.arrayBuffer());
    } catch {
      // The server has ended: the pictures are shown without it.
    }
    this.waitsForSkeleton = false;
    this.requestDraw();
  }

  // -- time --------------------------------------------------------------------------------------

  toggle() {
    this.playing = !this.playing;
    this.last = null;
    this.owed = 0;
    this.requestDraw();
  }

  seek(frame) {
    this.frame = (frame + this.clip.frames) % this.clip.frames;
    this.requestDraw();
  }

  onKey(event) {
    if (event.key === " ") {
      if (event.target.closest("button, a, summary, input[type=checkbox]")) return false;
      this.toggle();
      return true;
    }
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return false;
    this.playing = false;
    this.seek(this.frame + step * (event.shiftKey ? 10 : 1));
    return true;
  }

  requestDraw() {
    this.asked ??= requestAnimationFrame((now) => {
      this.asked = null;
      if (!this.closed) this.tick(now);
    });
  }

  tick(now) {
    if (this.playing) {
      this.owed += this.last == null ? 0 : ((now - this.last) / 1000) * this.clip.fps * this.speed;
      this.last = now;
      while (this.owed >= 1) {
        const next = (this.frame + 1) % this.clip.frames;
        if (!this.isReady(next)) {
          this.owed = 0; // wait for the slowest modality rather than drop its frames
          break;
        }
        this.frame = next;
        this.owed -= 1;
      }
    }
    this.draw();
    if (this.playing) this.requestDraw();
  }

  isReady(frame) {
    if (this.waitsForSkeleton) return false;
    return Object.values(this.frames).every((frames) => frames.get(Math.min(frame, frames.count - 1)) !== null);
  }

  // -- pictures ----------------------------------------------------------------------------------

  draw() {
    const { clip } = this;
    this.slider.value = this.frame;
    this.counter.textContent = `${this.frame + 1} / ${clip.frames}`;
    this.counter.dataset.frame = this.frame;
    this.playButton.textContent = this.playing ? "❚❚" : "▶";
    this.playButton.setAttribute("aria-label", this.playing ? "Pause" : "Play");
    const ready = this.isReady(this.frame);
    this.element.classList.toggle("loading", !ready);
    if (!ready) return;
    this.element.dataset.drawn = this.frame;
    for (const { canvas, draw } of this.panels) {
      const width = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
      const height = Math.max(1, Math.round((width * clip.height) / clip.width));
      if (canvas.width !== width || canvas.height !== height) {
        canvas.width = width;
        canvas.height = height;
      }
      const context = canvas.getContext("2d");
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, width, height);
      context.scale(width / clip.width, height / clip.height); // from here on in pixels of the clip
      draw(context);
    }
  }

  picture(context, column) {
    const frames = this.frames[column];
    const picture = frames.get(Math.min(this.frame, frames.count - 1));
    if (picture !== BROKEN) return picture;
    this.tell(context, "this frame cannot be read");
    return null;
  }

  tell(context, text) {
    context.fillStyle = "#888";
    context.font = `${Math.round(Math.min(this.clip.height, this.clip.width) / 13)}px sans-serif`;
    context.textAlign = "center";
    context.fillText(text, this.clip.width / 2, this.clip.height / 2);
  }

  drawPicture(context, column) {
    const picture = this.picture(context, column);
    if (picture) context.drawImage(picture, 0, 0, this.clip.width, this.clip.height);
  }

  drawBrighter(context, column, gain) {
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.clip.width, this.clip.height);
    context.globalCompositeOperation = "lighter"; // adds: drawn three times is three times as bright
    for (let n = 0; n < gain; n++) this.drawPicture(context, column);
    context.globalCompositeOperation = "source-over";
  }

  drawFlow(context) {
    const picture = this.picture(context, "flow");
    const pair = Math.min(this.frame, this.frames.flow.count - 1);
    this.flowNote.textContent = `${pair + 1} → ${pair + 2}`;
    if (picture) context.drawImage(flowPicture(picture, this.colours), 0, 0, this.clip.width, this.clip.height);
  }

  drawSkeletonAlone(context) {
    context.fillStyle = "#16181d";
    context.fillRect(0, 0, this.clip.width, this.clip.height);
    if (this.skeleton && !this.drawSkeleton(context)) this.tell(context, "no person found");
  }

  /** Draw the joints of the frame; gives how many are sure enough to be shown. */
  drawSkeleton(context) {
    const people = this.clip.skeleton_people;
    if (!this.skeleton || !people) return 0;
    let shown = 0;
    const width = Math.max(1.2, Math.min(this.clip.width, this.clip.height) / 110);
    context.lineWidth = width;
    context.lineCap = "round";
    for (let person = 0; person < people; person++) {
      const start = (this.frame * people + person) * 17 * 3;
      const joint = (n) => this.skeleton.subarray(start + n * 3, start + n * 3 + 3);
      const isShown = ([x, y, score]) => Number.isFinite(x) && Number.isFinite(y) && score >= LEAST_SCORE;
      for (const [a, b] of this.bones) {
        const from = joint(a), to = joint(b);
        if (!isShown(from) || !isShown(to)) continue;
        context.strokeStyle = colourOf(a) === colourOf(b) ? colourOf(a) : MIDDLE;
        context.beginPath();
        context.moveTo(from[0], from[1]);
        context.lineTo(to[0], to[1]);
        context.stroke();
      }
      for (let n = 0; n < 17; n++) {
        const place = joint(n);
        if (!isShown(place)) continue;
        shown++;
        context.fillStyle = colourOf(n);
        context.beginPath();
        context.arc(place[0], place[1], width * 1.35, 0, 2 * Math.PI);
        context.fill();
      }
    }
    return shown;
  }

  close() {
    this.closed = true;
    this.resizes.disconnect();
    for (const frames of Object.values(this.frames)) frames.close();
  }
}

const colourOf = (joint) => (joint === 0 ? MIDDLE : joint % 2 ? LEFT : RIGHT);
