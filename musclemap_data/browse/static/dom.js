// Small helpers for the page: elements without innerHTML, requests, formats.

/** An element: el("a", {href: "#/"}, "text", child). Keys starting with "on" are listeners. */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "className") element.className = value;
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

/** JSON of an address of this server; its message becomes the error's. */
export async function getJson(address, signal) {
  const response = await fetch(address, { signal });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error ?? `the server answered ${response.status}`);
  return body;
}

/** The address of a clip's data; ids are safe, and still quoted. */
export function clipAddress(clip, what = "", query = "") {
  const id = encodeURIComponent(clip.clip_id ?? clip);
  const version = clip.version ? `?v=${encodeURIComponent(clip.version)}` : query;
  return `/api/clips/${id}${what}${version}`;
}

const maps = new Map();

/** Put the body map with these 20 values into an element; `tell(n)` says what region n is. */
export async function showBodyMap(holder, name, regions, values, tell) {
  const numbers = values.map((value) => String(Math.round(value * 1000) / 1000)).join(",");
  const address = `/api/body-map?name=${name}&values=${numbers}`;
  holder.dataset.address = address;
  if (!maps.has(address)) {
    maps.set(address, fetch(address).then((response) => response.text()));
  }
  const text = await maps.get(address);
  if (holder.dataset.address !== address) return; // a later call was faster
  const parsed = new DOMParser().parseFromString(text, "image/svg+xml");
  const map = document.importNode(parsed.documentElement, true);
  regions.forEach(({ slug }, number) => {
    for (const part of map.querySelectorAll(`[data-region="${slug}"]`)) {
      const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
      title.textContent = tell(number);
      part.append(title);
    }
  });
  holder.replaceChildren(map);
}

/** The region under a click on a body map, also on its mirrored half; null beside the regions. */
export function clickedRegion(event) {
  const direct = event.target.closest?.("[data-region]");
  if (direct) return direct.dataset.region;
  const mirrored = event.target.closest?.("use");
  if (!mirrored) return null;
  // The left half is a <use> of the right one and has no elements of its own.
  const middle = mirrored.parentNode.getScreenCTM().e;
  const twin = document.elementFromPoint(2 * middle - event.clientX, event.clientY);
  return twin?.closest("[data-region]")?.dataset.region ?? null;
}

/** "chest: in 22% of the clips". */
export const tellShare = (dataset, shares, number) =>
  `${dataset.regions[number].name}: in ${Math.round(100 * shares[number])}% of the clips`;

/** Text in which `commands` between back quotes are code. */
export const withCode = (text) =>
  text.split("`").map((part, number) => (number % 2 ? el("code", {}, part) : part));

export const words = (slug) => slug.replaceAll("_", " ");
export const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

/** 75.3 -> "1 min 15 s", 7530 -> "2.1 h". */
export function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
