// The page of `musclemap app`: send a video, follow its progress, show what was said.
import { duration, el, getJson } from "/static/dom.js";

const $ = (id) => document.getElementById(id);
const FILES = ["prediction.json", "movement.pdf", "movement.json", "joints.csv", "angles.csv", "joints.trc", "angles.mot", "body_map.svg", "timeline.png", "overlay.mp4"];
let mostBytes = Infinity;
let turn = 0; // a newer video makes what an older one would show stale
let running = null; // the job on the server
let stageBegan = { stage: null, at: 0 };

getJson("/api/limits").then((limits) => {
  mostBytes = limits.most_bytes;
  $("limit").textContent = `At most ${Math.round(mostBytes / 2 ** 20)} MiB.`;
});

function complain(text) {
  $("progress").hidden = true;
  $("problem").textContent = text;
  $("problem").hidden = false;
}

function showProgress(stage, done, total) {
  $("problem").hidden = true;
  $("progress").hidden = false;
  if (stageBegan.stage !== stage) stageBegan = { stage, at: performance.now() };
  $("stage").textContent = stage + timeLeft(done, total);
  if (total) $("bar").value = done / total;
  else $("bar").removeAttribute("value");
}

/** How long the stage will take still, from how long it took so far; nothing under a minute. */
function timeLeft(done, total) {
  const seconds = ((performance.now() - stageBegan.at) / 1000) * ((total - done) / done);
  return done && seconds >= 60 ? `, about ${Math.round(seconds / 60)} min left` : "";
}

/** The server need not go on with the video that it judges. */
function forget() {
  if (running) fetch(`/api/videos/${running}/remove`, { method: "POST" }).catch(() => {});
  running = null;
}

/** Send a video; XMLHttpRequest, since fetch tells nothing about how much is sent. */
function send(blob, name) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/api/videos");
    request.setRequestHeader("x-name", encodeURIComponent(name));
    request.upload.onprogress = (event) => showProgress(`Copying ${name}`, event.loaded, event.total);
    request.onerror = () => reject(new Error("the server does not answer: is musclemap app still running?"));
    request.onload = () => {
      const answer = JSON.parse(request.responseText || "{}");
      if (request.status === 202) resolve(answer);
      else reject(new Error(answer.error ?? `the server answered ${request.status}`));
    };
    request.send(blob);
  });
}

async function judge(blob, name) {
  const own = ++turn;
  $("result").hidden = true;
  forget();
  if (!blob.size) return complain(`${name} is empty.`);
  if (blob.size > mostBytes) return complain(`${name} is larger than ${Math.round(mostBytes / 2 ** 20)} MiB. Cut it, or start musclemap app with a larger --max-mib.`);
  showProgress(`Copying ${name}`, 0, 0);
  try {
    let job = await send(blob, name);
    if (own === turn) running = job.job_id;
    else return void fetch(`/api/videos/${job.job_id}/remove`, { method: "POST" });
    while (own === turn && ["waiting", "running"].includes(job.state)) {
      showProgress(job.state === "waiting" ? "Waiting for the video before this one" : job.stage, job.done, job.total);
      await new Promise((resolve) => setTimeout(resolve, 400));
      job = await getJson(`/api/videos/${job.job_id}`);
    }
    if (own !== turn) return;
    running = null;
    if (job.state === "failed") return complain(job.error);
    $("progress").hidden = true;
    showResult(job);
  } catch (error) {
    if (own === turn) complain(error.message);
  }
}

function showResult(job) {
  const { prediction, headline, movement, course, files } = job.result;
  const at = (name) => `/api/videos/${job.job_id}/${name}`;
  const holder = $("result");
  holder.replaceChildren(
    el("section", { className: "panel said" },
      el("p", { className: "quiet" }, `${job.name}, ${duration(prediction.video.seconds)}`),
      el("h1", {}, headline),
      grades(prediction),
      el("h2", {}, "How sure is this?"),
      el("ul", {},
        el("li", {}, `Candidates: ${prediction.candidates.map((c) => `${c.name} ${percent(c.probability)}`).join(", ")}.`),
        prediction.unsure.map((doubt) => el("li", {}, doubt))),
      el("p", { className: "quiet" }, prediction.note)),
    el("div", { className: "pair" },
      el("section", { className: "panel" }, el("h2", {}, "The person, and what is worked"),
        el("video", { src: at("overlay.mp4"), controls: true, loop: true, muted: true, playsinline: true })),
      el("section", { className: "panel body" }, el("h2", {}, "Muscle regions"), el("img", { src: at("body_map.svg"), alt: "Body from the front and the back, active regions in red" }))),
    el("section", { className: "panel" }, el("h2", {}, "Movement"), measures(movement), courseOf(movement, course)),
    el("section", { className: "panel wide" }, el("h2", {}, "Regions over time"), el("img", { src: at("timeline.png"), alt: "Regions over time" })),
    el("section", { className: "panel files" }, el("h2", {}, "Files"),
      job.result.kept_in && el("p", { className: "quiet" }, `Kept in ${job.result.kept_in}`),
      !job.result.kept_in && el("p", { className: "quiet" }, "Nothing is kept when musclemap app ends: save what you need."),
      FILES.filter((name) => files.includes(name)).map((name) => [el("a", { href: at(name), download: name }, name), " "])),
  );
  holder.hidden = false;
  holder.focus({ preventScroll: true });
  holder.scrollIntoView({ behavior: "smooth", block: "start" });
}

const percent = (share) => `${Math.round(100 * share)}%`;

/** The active regions by grade, those that work most first. */
function grades(prediction) {
  const found = new Map();
  const regions = Object.values(prediction.regions).sort((a, b) => b.expected_grade - a.expected_grade);
  for (const region of regions) {
    if (region.active === "yes") found.set(region.grade, [...(found.get(region.grade) ?? []), region.name]);
  }
  return el("table", { className: "measures" },
    [...found].map(([grade, names]) => el("tr", {}, el("th", {}, grade), el("td", {}, names.join(", ")))));
}

function measures(lines) {
  return el("ul", {}, lines.sentences.map((line) => el("li", {}, line)));
}

/** The movement there and back as a line, with its turns. */
function courseOf(movement, course) {
  const known = course.map((value, frame) => [frame, value]).filter(([, value]) => value !== null);
  if (known.length < 2) return null;
  const values = known.map(([, value]) => value);
  const low = Math.min(...values), high = Math.max(...values);
  const x = (frame) => (1000 * frame) / (course.length - 1);
  const y = (value) => 95 - (90 * (value - low)) / (high - low || 1);
  let path = "", last = -2;
  for (const [frame, value] of known) {
    path += `${frame === last + 1 ? "L" : "M"}${x(frame).toFixed(1)} ${y(value).toFixed(1)}`;
    last = frame;
  }
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  picture.setAttribute("viewBox", "0 0 1000 100");
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("class", "course");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", "The movement over time; lines where it turns");
  for (const turned of movement.repetitions.turns_s) {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    const at = x(turned * movement.fps);
    for (const [key, value] of Object.entries({ x1: at, x2: at, y1: 0, y2: 100 })) line.setAttribute(key, value);
    picture.append(line);
  }
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "path");
  drawn.setAttribute("d", path);
  picture.append(drawn);
  return picture;
}

// -- giving a video -------------------------------------------------------------------------------

$("file").addEventListener("change", (event) => {
  const file = event.target.files[0];
  if (file) judge(file, file.name);
  event.target.value = "";
});

for (const kind of ["dragover", "drop", "dragleave"]) {
  window.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    const file = kind === "drop" && event.dataTransfer.files[0];
    if (file) judge(file, file.name);
  });
}

$("stop").addEventListener("click", () => {
  turn++;
  forget();
  $("progress").hidden = true;
});

let stream = null;
let recording = null;

function closeCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  $("recorder").hidden = true;
  $("drop").hidden = false;
}

$("camera").addEventListener("click", async () => {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: 1280, facingMode: "environment" }, audio: false });
  } catch (error) {
    return complain(`The camera cannot be used (${error.message}). Choose a file instead.`);
  }
  $("preview").srcObject = stream;
  $("preview").play();
  $("recorder").hidden = false;
  $("drop").hidden = true;
});

$("record").addEventListener("click", () => {
  if (recording) return recording.stop();
  const pieces = [];
  recording = new MediaRecorder(stream);
  recording.ondataavailable = (event) => pieces.push(event.data);
  recording.onstop = () => {
    const type = recording.mimeType;
    recording = null;
    $("record").textContent = "Record";
    closeCamera();
    judge(new Blob(pieces, { type }), `camera.${type.includes("mp4") ? "mp4" : "webm"}`);
  };
  recording.start(1000);
  $("record").textContent = "Stop and look at it";
});

$("leave").addEventListener("click", () => {
  if (recording) recording.onstop = () => (recording = null);
  recording?.stop();
  $("record").textContent = "Record";
  closeCamera();
});
