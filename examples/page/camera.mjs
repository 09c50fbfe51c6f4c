// Shows the frames of a camera as they come, each with its own boxes.

import { draw, element, sizeOf, summaryOf } from "./drawing.mjs";

const byId = (id) => document.getElementById(id);
const SIDE = 1280;  // pixels of the longer side of masks

let came = 0;
let shown = 0;

function tellProblem(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
}

async function show(number, { picture: address, prediction, error, index, time, age, dropped }) {
  const image = element("img");
  image.alt = `Frame ${index}`;
  image.src = address;
  await image.decode();
  if (number < shown) return;  // a newer one was quicker
  shown = number;
  const { width, height } = (prediction && sizeOf(prediction)) ?? { width: image.naturalWidth, height: image.naturalHeight };
  byId("live").style.setProperty("--ratio", width / height);
  // A new one for each frame: the labels are placed when it is first seen.
  const picture = element("span", "picture");
  picture.append(image);
  byId("frame").replaceChildren(picture);
  if (prediction) draw(picture, prediction, SIDE);
  byId("found").textContent = prediction ? summaryOf(prediction) : error;
  byId("told").textContent = `${time.toFixed(1)} s, ${Math.round(age * 1000)} ms old, ${dropped} passed over`;
  document.body.dataset.frame = index;
  tellProblem("");
}

const events = new EventSource("events");
events.addEventListener("frame", ({ data }) => {
  came += 1;
  show(came, JSON.parse(data)).catch(console.warn);
});
events.addEventListener("problem", ({ data }) => tellProblem(JSON.parse(data).detail));
// The browser tries again by itself.
events.onerror = () => tellProblem("The connection was lost; it is tried again.");
