// Optical flow in colour: direction as hue (right is red, down is yellow-green), speed as saturation.

/** [r, g, b] of a flow of (u, v); `full` is the speed of full colour. White is no motion. */
function colour(u, v, full) {
  const hue = ((Math.atan2(v, u) / Math.PI) * 3 + 6) % 6;
  const saturation = Math.min(1, Math.hypot(u, v) / full);
  // HSV with value 1; see "HSL and HSV", formula with k = (n + hue) mod 6.
  return [5, 3, 1].map((n) => {
    const k = (n + hue) % 6;
    return Math.round(255 * (1 - saturation * Math.max(0, Math.min(k, 4 - k, 1))));
  });
}

/** Colours of all 256 x 256 pairs of stored values, over [-bound, bound] px: Uint32 of RGBA bytes. */
export function flowColours(bound, full) {
  const bytes = new Uint8ClampedArray(256 * 256 * 4);
  for (let v = 0; v < 256; v++) {
    for (let u = 0; u < 256; u++) {
      const place = (v * 256 + u) * 4;
      const step = bound / 127.5;
      bytes.set(colour(u * step - bound, v * step - bound, full), place);
      bytes[place + 3] = 255;
    }
  }
  return new Uint32Array(bytes.buffer);
}

const source = new OffscreenCanvas(1, 1);
const target = new OffscreenCanvas(1, 1);

/** A stored flow picture (grey, u stacked over v) in colour, as a canvas of half its height. */
export function flowPicture(stored, colours) {
  const { width } = stored;
  const height = stored.height / 2;
  if (source.width !== width || source.height !== stored.height) {
    source.width = target.width = width;
    source.height = stored.height;
    target.height = height;
  }
  const context = source.getContext("2d", { willReadFrequently: true });
  context.drawImage(stored, 0, 0);
  const grey = context.getImageData(0, 0, width, stored.height).data;
  const picture = new ImageData(width, height);
  const pixels = new Uint32Array(picture.data.buffer);
  const lower = pixels.length * 4;
  for (let n = 0; n < pixels.length; n++) {
    pixels[n] = colours[grey[lower + n * 4] * 256 + grey[n * 4]];
  }
  target.getContext("2d").putImageData(picture, 0, 0);
  return target;
}

/** The legend: each direction in its colour, faster outside. */
export function drawWheel(canvas) {
  const side = canvas.width;
  const picture = new ImageData(side, side);
  const radius = side / 2;
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const u = (x + 0.5 - radius) / radius, v = (y + 0.5 - radius) / radius;
      const edge = Math.min(1, Math.max(0, (1 - Math.hypot(u, v)) * radius)); // smooth rim
      picture.data.set([...colour(u, v, 1), 255 * edge], (y * side + x) * 4);
    }
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}
