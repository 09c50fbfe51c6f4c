// What a model found, drawn over a picture. Names come from outside: they are set as text, never as HTML.

// Each is dark enough for white letters (WCAG AA).
const COLOURS = ["#6d28d9", "#b91c1c", "#0f766e", "#1d4ed8", "#a16207", "#be185d", "#15803d", "#475569"];
const LONGEST = 40;  // letters of a name
const MOST_NAMES = 3;  // of classes, below a picture
const MOST_MASK_PIXELS = 200_000_000;
const MOST_LABELS = 100;
const MOST_LINES = 300;

const colours = new Map();
const colourOf = (name) => {
  if (!colours.has(name)) colours.set(name, COLOURS[colours.size % COLOURS.length]);
  return colours.get(name);
};
const short = (name) => (name.length > LONGEST ? `${name.slice(0, LONGEST)}…` : name);
const scored = (name, confidence) => `${short(name)} ${Math.round(confidence * 100)} %`;

export const element = (name, className = "", text = "") => {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
};

// Objects with a box; the largest first, so that the smaller ones are drawn over them.
const objectsIn = ({ predictions }) =>
  Array.isArray(predictions)
    ? predictions.filter((one) => "x" in one).sort((one, other) => other.width * other.height - one.width * one.height)
    : [];

// Classes of the whole picture: the likeliest one, or all that apply.
function classesIn({ top, confidence, predictions, predicted_classes: names }) {
  if (names) return names.map((name) => ({ class: name, confidence: predictions[name]?.confidence ?? 0 }));
  return top ? [{ class: top, confidence }] : [];
}

// Names of the classes that a semantic mask holds, by their number.
function classesOfMask({ segmentation_mask: mask, class_map: names, present_class_ids: present }) {
  const all = mask ? Object.entries(names) : [];
  return all.filter(([id, name]) => name !== "background" && (present?.includes(Number(id)) ?? true));
}

export function sizeOf({ image }) {
  const [size] = [image].flat();  // a list for a batch
  return size?.width && size.height ? size : null;
}

// In a few words, for below the picture.
export function summaryOf(prediction) {
  if (prediction.is_stub) return "the model has no weights yet";
  const counts = new Map();
  for (const { class: name } of objectsIn(prediction)) counts.set(name, (counts.get(name) ?? 0) + 1);
  const words = [
    ...[...counts].map(([name, count]) => `${count} × ${short(name)}`),
    ...classesIn(prediction).map((one) => scored(one.class, one.confidence)),
    ...classesOfMask(prediction.predictions ?? {}).map(([, name]) => short(name)),
  ];
  const rest = words.length - MOST_NAMES;
  return (words.slice(0, MOST_NAMES).join(", ") || "nothing found") + (rest > 0 ? `, and ${rest} more` : "");
}

// All of it, one line each.
export function linesOf(prediction) {
  return [
    ...objectsIn(prediction).map(({ class: name, confidence, keypoints = [] }) => {
      const points = keypoints.map((point) => scored(point.class, point.confidence)).join(", ");
      return scored(name, confidence) + (points && `: ${points}`);
    }),
    ...classesIn(prediction).map((one) => scored(one.class, one.confidence)),
    ...classesOfMask(prediction.predictions ?? {}).map(([, name]) => short(name)),
  ].slice(0, MOST_LINES);
}

// `side`: pixels of the longer side of masks, which take memory.
export function draw(picture, prediction, side) {
  const size = sizeOf(prediction);
  if (!size) return;
  const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  drawing.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
  drawing.setAttribute("preserveAspectRatio", "none");
  drawing.setAttribute("aria-hidden", "true");  // the same is said in words below it
  const labels = [];
  const objects = objectsIn(prediction);
  const masks = objects.filter(({ rle }) => rle);
  if (masks.length) picture.append(paintRuns(masks, size, side));
  const { segmentation_mask: mask } = prediction.predictions ?? {};
  if (mask) paintClasses(prediction.predictions, size, side).then((canvas) => drawing.before(canvas), console.warn);
  for (const one of objects) {
    const [left, top] = [one.x - one.width / 2, one.y - one.height / 2];
    const outline = one.points?.map(({ x, y }) => `${x},${y}`).join(" ");
    if (outline) stroke(drawing, "polygon", { points: outline }, one.class);
    else stroke(drawing, "rect", { x: left, y: top, width: one.width, height: one.height }, one.class);
    for (const { x, y, class: name, confidence } of one.keypoints ?? []) {
      // A line without length has round ends: a dot of the same size at every scale.
      const dot = stroke(drawing, "path", { d: `M${x} ${y}h0`, class: "keypoint" }, name);
      const title = document.createElementNS(drawing.namespaceURI, "title");
      title.textContent = scored(name, confidence);
      dot.append(title);
    }
    const box = [left / size.width, top / size.height, (left + one.width) / size.width, (top + one.height) / size.height];
    labels.push({ box, confidence: one.confidence, name: one.class, text: scored(one.class, one.confidence) });
  }
  for (const one of classesIn(prediction))
    labels.push({ box: [0, 0, 0, 0], confidence: one.confidence, name: one.class, text: scored(one.class, one.confidence) });
  for (const [, name] of classesOfMask(prediction.predictions ?? {}))
    labels.push({ box: [0, 0, 0, 0], confidence: 0, name, text: short(name) });
  picture.append(drawing);
  label(picture, labels);
}

function stroke(drawing, name, attributes, className) {
  const [halo, line] = [0, 1].map(() => document.createElementNS(drawing.namespaceURI, name));
  for (const one of [halo, line]) for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
  halo.classList.add("halo");
  line.setAttribute("stroke", colourOf(className));
  line.style.setProperty("--colour", colourOf(className));
  drawing.append(halo, line);
  return line;
}

const labelled = new WeakMap();
const resized = new ResizeObserver((entries) => {
  const pictures = entries.map(({ target }) => target.querySelector(":scope > .picture") ?? target);
  for (const picture of new Set(pictures)) if (labelled.has(picture)) place(picture);
});

function label(picture, all) {
  const labels = all.sort((one, other) => other.confidence - one.confidence).slice(0, MOST_LABELS);
  for (const one of labels) {
    one.element = element("span", "label", one.text);
    one.element.style.background = colourOf(one.name);
    one.element.ariaHidden = "true";
    picture.append(one.element);
  }
  labelled.set(picture, labels);
  resized.observe(picture);  // and placed now
  if (picture.parentElement) resized.observe(picture.parentElement);  // its room changes alone, too
}

// Each label at a corner of its box, over no other label; the likelier ones first. It lies inside the picture,
// or beside it in its frame: a tower and a panorama have more room there than within.
function place(picture) {
  const { clientWidth: width, clientHeight: height, parentElement: frame } = picture;
  const aside = Math.max(0, ((frame?.clientWidth ?? 0) - width) / 2);
  const above = Math.max(0, ((frame?.clientHeight ?? 0) - height) / 2);
  const sizes = labelled.get(picture).map((one) => [one.element.offsetWidth, one.element.offsetHeight]);
  const taken = [];
  labelled.get(picture).forEach(({ element, box }, at) => {
    const [wide, high] = sizes[at];
    const [left, top, right, bottom] = box.map((share, side) => Math.max(0, Math.min(1, share)) * (side % 2 ? height : width));
    const rows = bottom ? [top - high, bottom, top, bottom - high] : sizes.map((_, row) => row * (high + 2));
    const spotsWithin = (aside, above) => {
      const isInside = (y) => y >= -above - high / 2 && y + high <= height + above + high / 2;  // or nearly
      return rows.toSorted((one, other) => isInside(other) - isInside(one)).flatMap((y) => [left, right - wide].map((x) => ({
        x: Math.max(-aside, Math.min(x, width + aside - wide)),
        y: Math.max(-above, Math.min(y, height + above - high)),
      })));
    };
    const fits = wide <= width && high <= height;
    const spots = [...(fits ? spotsWithin(0, 0) : []), ...spotsWithin(aside, above)];
    const spot = spots.find(({ x, y }) => taken.every((one) =>
      x >= one.x + one.wide || x + wide <= one.x || y >= one.y + one.high || y + high <= one.y));
    element.style.visibility = spot ? "visible" : "hidden";
    if (!spot) return;  // the picture in full size has more room
    element.style.translate = `${spot.x}px ${spot.y}px`;
    taken.push({ ...spot, wide, high });
  });
}

function canvasFor({ width, height }, side) {
  const canvas = element("canvas");
  const scale = Math.min(1, side / Math.max(width, height));
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  return canvas;
}

// Masks of run lengths as COCO has them: down the columns, nothing and something in turn.
function paintRuns(masks, size, side) {
  const canvas = canvasFor(size, side);
  const pen = canvas.getContext("2d");
  for (const { rle: { size: [height, width], counts }, class: name } of masks) {
    if (!(width * height <= MOST_MASK_PIXELS)) throw new RangeError(`a mask of ${width} x ${height}`);
    const [across, down] = [canvas.width / width, canvas.height / height];
    pen.fillStyle = colourOf(name);
    let at = 0;
    runsIn(counts).forEach((length, number) => {
      const end = Math.min(at + length, width * height);
      while (number % 2 && at < end) {
        const column = Math.floor(at / height);
        const until = Math.min(end, (column + 1) * height);
        const [x, y] = [Math.floor(column * across), Math.floor((at - column * height) * down)];
        pen.fillRect(x, y, Math.ceil(across), Math.ceil((until - at) * down));
        at = until;
      }
      at = end;
    });
  }
  return canvas;
}

// Numbers, or COCO's text: 5 bits a character, the lowest first; from the third on, the difference to the one before last.
function runsIn(counts) {
  if (typeof counts !== "string") return counts;
  const runs = [];
  for (let at = 0; at < counts.length;) {
    let [value, shift, bits] = [0, 0, 0];
    do {
      bits = counts.charCodeAt(at) - 48;
      value |= (bits & 31) << shift;
      shift += 5;
      at += 1;
    } while (bits & 32 && at < counts.length);
    if (bits & 16) value |= -1 << shift;
    runs.push(runs.length > 2 ? value + runs.at(-2) : value);
  }
  return runs;
}

// A PNG whose grey is the class of each pixel.
async function paintClasses({ segmentation_mask: mask, ...classes }, size, side) {
  const canvas = canvasFor(size, side);
  const { width, height } = canvas;
  const bytes = Uint8Array.from(atob(mask), (letter) => letter.charCodeAt(0));
  const options = { resizeWidth: width, resizeHeight: height, resizeQuality: "pixelated" };
  const pen = canvas.getContext("2d", { willReadFrequently: true });  // its pixels are read below
  pen.drawImage(await createImageBitmap(new Blob([bytes]), options), 0, 0);
  const pixels = pen.getImageData(0, 0, width, height);
  const shown = new Map(classesOfMask({ segmentation_mask: mask, ...classes }).map(([id, name]) => [Number(id), colourOf(name)]));
  for (let at = 0; at < pixels.data.length; at += 4) {
    const colour = shown.get(pixels.data[at]);
    const number = colour ? Number.parseInt(colour.slice(1), 16) : 0;
    pixels.data.set([number >> 16, (number >> 8) & 255, number & 255, colour ? 255 : 0], at);
  }
  pen.putImageData(pixels, 0, 0);
  return canvas;
}
