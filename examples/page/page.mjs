// Pictures are uploaded, and each gets its predictions as they arrive.
import { draw, element, linesOf, sizeOf, summaryOf } from "./drawing.mjs";

const byId = (id) => document.getElementById(id);
const PORTION = 100;  // pictures in one request; the app takes at most 200
const PATIENCE = 20_000;  // ms without a result, until the page says so
// Browsers turn these upright. The API does not, and its boxes would be elsewhere.
const NEVER_TURNED = "image/webp";
const ALWAYS_TURNED = "image/avif";  // whatever the page asks for
const ABOUT_THE_IMAGE = [413, 422];  // all others are about the service

let cards = [];
let running = null;
let problems = new Map();  // what is wrong with the service, and with how many pictures
let current = 0;  // the card that is shown in full size

// Pictures that are far from the screen take no memory.
const cardOf = new WeakMap();
const near = new IntersectionObserver(
  (entries) => entries.forEach(({ target, isIntersecting }) => {
    const card = cardOf.get(target);
    if (isIntersecting) load(card, card.image);
    else unload(card.image);
  }),
  { rootMargin: "100% 0px" },
);

function addCard(file) {
  const figure = element("figure");
  const frame = element("button", "frame");
  const caption = element("figcaption");
  const name = element("span", "name", file.name);
  const card = { file, shown: file, figure, frame, outcome: null, said: element("span", "outcome") };
  name.title = file.name;
  frame.ariaLabel = `Show ${file.name} in full size`;
  frame.onclick = () => showFull(cards.indexOf(card));
  caption.append(name, card.said);
  figure.append(frame, caption);
  ({ picture: card.picture, image: card.image } = addPicture(card, frame));
  byId("pictures").append(figure);
  cardOf.set(figure, card);
  near.observe(figure);
  return card;
}

function addPicture(card, frame) {
  const picture = element("span", "picture");
  const image = element("img");
  image.alt = card.file.name;
  if (card.file.type === NEVER_TURNED) image.style.imageOrientation = "none";
  setSize(picture, (card.outcome?.prediction && sizeOf(card.outcome.prediction)) ?? { width: 4, height: 3 });
  image.onload = () => {
    URL.revokeObjectURL(image.src);
    setSize(picture, { width: image.naturalWidth, height: image.naturalHeight });
  };
  image.onerror = async () => {
    unload(image);
    if (card.shown === card.file) card.preview ??= previewOf(card);
    card.shown = card.shown === card.file ? await card.preview : null;
    if (card.shown) load(card, image);
    else image.replaceWith(element("span", "missing", "no preview"));
  };
  picture.append(image);
  frame.replaceChildren(picture);
  return { picture, image };
}

function setSize(picture, { width, height }) {
  picture.style.setProperty("--ratio", width / height);
  picture.style.setProperty("--width", width);
}

function load(card, image) {
  if (!card.shown || image.src) return;
  if (card.shown === card.file && card.file.type === ALWAYS_TURNED) image.onerror();
  else image.src = URL.createObjectURL(card.shown);
}

function unload(image) {
  URL.revokeObjectURL(image.src);
  image.removeAttribute("src");
}

// A JPEG of a picture that this browser cannot show, or null. One at a time: the app has more to do.
let lastPreview = Promise.resolve();
function previewOf(card) {
  lastPreview = lastPreview.then(async () => {
    if (!cards.includes(card)) return null;  // others were chosen meanwhile
    const form = new FormData();
    form.append("image", card.file);
    const response = await fetch("preview", { method: "POST", body: form }).catch(() => null);
    return response?.ok ? response.blob() : null;
  }).catch(() => null);
  return lastPreview;
}

function settle(card, outcome) {
  card.outcome = outcome;
  const { error, prediction, status } = outcome;
  if (!error) {
    card.said.textContent = summaryOf(prediction);
    if (!card.image.naturalWidth && sizeOf(prediction)) setSize(card.picture, sizeOf(prediction));
    if (!tryToDraw(card.picture, prediction, 512)) card.said.textContent += " (cannot be drawn)";
  } else if (ABOUT_THE_IMAGE.includes(status)) {
    card.said.textContent = error;
  } else {
    card.said.textContent = "not done";
    addProblem(error, 1);
  }
  const failed = ABOUT_THE_IMAGE.includes(status) ? "failed" : "undone";
  card.figure.dataset.state = error ? failed : "done";
  if (full.open && cards[current] === card) showFull(current);
}

// A response may hold anything; it is no reason to lose the others.
function tryToDraw(picture, prediction, side) {
  try {
    draw(picture, prediction, side);
    return true;
  } catch (error) {
    console.info(error);
    return false;
  }
}

function addProblem(message, pictures) {
  const kind = message.replace(/\d+/g, "");  // "busy: try again in 3 s", or in 4 s
  problems.set(kind, { message, pictures: pictures + (problems.get(kind)?.pictures ?? 0) });
}

function tellProblems({ counted = false, also = null } = {}) {
  const told = [...problems.values()].map(({ message, pictures }) => {
    const count = counted && pictures ? ` (${pictures} ${pictures === 1 ? "picture" : "pictures"})` : "";
    return `${message[0].toUpperCase()}${message.slice(1)}${count}.`;
  });
  if (also) told.push(also);
  const text = told.join(" ");
  if (byId("problem").textContent !== text) byId("problem").textContent = text;  // it is read out each time
  byId("problem").hidden = !text;
}

// Lines of JSON, as they come in.
async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}

async function send(portion, signal, settled) {
  const form = new FormData();
  for (const { file } of portion) form.append("images", file);
  const response = await fetch("predict/many", { method: "POST", body: form, signal });
  if (!response.ok) {
    const { detail } = await response.json().catch(() => ({}));  // a proxy's is a page
    throw new Error(typeof detail === "string" ? detail : `this app has failed (status ${response.status})`);
  }
  let missing = portion.length;
  for await (const outcome of lines(response.body)) {
    if (outcome.index === undefined) throw new Error(outcome.error);
    settled(portion[outcome.index], outcome);
    missing -= 1;
  }
  if (missing) throw new Error("the connection was closed early");
}

// Predictions for some of the cards: all, or those that are not done.
async function predict(some) {
  running?.abort();
  const mine = running = new AbortController();
  problems = new Map();
  tellProblems();
  delete document.body.dataset.finished;
  byId("status").hidden = byId("cancel").hidden = false;
  byId("again").hidden = true;
  for (const card of some) {
    card.figure.dataset.state = "waiting";
    card.said.textContent = "waiting";
  }
  const progress = byId("progress");
  progress.max = cards.length;
  progress.value = cards.length - some.length;
  let quiet;
  const count = () => {
    byId("summary").textContent = `${progress.value} of ${cards.length}`;
    byId("download").hidden = progress.value === 0;
    tellProblems();
    clearTimeout(quiet);
    quiet = setTimeout(() => tellProblems({ also: `No result for ${PATIENCE / 1000} s. It is tried again until you cancel.` }), PATIENCE);
  };
  count();
  let ended = null;
  try {
    for (let at = 0; at < some.length; at += PORTION)
      await send(some.slice(at, at + PORTION), mine.signal, (card, outcome) => {
        settle(card, outcome);
        progress.value += 1;
        count();
        if (progress.value % Math.ceil(cards.length / 4) === 0) say(`${progress.value} of ${cards.length} pictures done`);
      });
  } catch (error) {
    if (mine.signal.aborted) ended = "cancelled";
    // The browser's own words for it are "Failed to fetch".
    else ended = error instanceof TypeError ? "this app cannot be reached, or the connection was lost" : error.message;
  }
  clearTimeout(quiet);
  if (running !== mine) return;  // others were chosen meanwhile
  const waiting = some.filter(({ figure }) => figure.dataset.state === "waiting");
  for (const { figure, said } of waiting) {
    figure.dataset.state = "undone";
    said.textContent = "not done";
  }
  if (ended && ended !== "cancelled") addProblem(ended, waiting.length);
  tellProblems({ counted: true });
  const left = undone().length;
  byId("again").textContent = left === cards.length ? "Try again" : `Try ${left} again`;
  byId("again").hidden = left === 0;
  byId("cancel").hidden = true;
  progress.value = cards.length - left;
  byId("summary").textContent = `${progress.value} of ${cards.length}${ended === "cancelled" ? ", cancelled" : ""}`;
  byId("download").hidden = false;
  say(`${progress.value} of ${cards.length} pictures done${ended ? `, then: ${ended}` : ""}`);
  document.body.dataset.finished = ended ?? "all";
}

const undone = () => cards.filter(({ figure }) => figure.dataset.state === "undone");
const say = (text) => { byId("said").textContent = text; };  // to screen readers, now and then

function choose(files) {
  if (files.length === 0) return;
  near.disconnect();
  byId("pictures").replaceChildren();
  cards = files.map(addCard);
  predict(cards);
}

function download() {
  const results = cards.map(({ file, outcome }) => {
    const { prediction, error } = outcome ?? { error: "not done" };
    return { name: file.name, ...(error ? { error } : { prediction }) };
  });
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(results, null, 2)], { type: "application/json" }));
  link.download = "predictions.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function showFull(number) {
  current = (number + cards.length) % cards.length;
  const card = cards[current];
  const prediction = card.outcome?.prediction;
  byId("full-name").textContent = card.file.name;
  const { picture, image } = addPicture(card, byId("full-picture"));
  image.alt = `${card.file.name}: ${card.said.textContent}`;
  load(card, image);
  if (prediction) tryToDraw(picture, prediction, 2048);
  const words = prediction ? linesOf(prediction) : [];
  const items = words.length ? words : [card.said.textContent];
  byId("full-list").replaceChildren(...items.map((line) => element("li", "", line)));
  byId("previous").hidden = byId("next").hidden = cards.length === 1;
  if (!byId("full").open) byId("full").showModal();
}

byId("files").onchange = ({ target }) => {
  choose([...target.files]);
  target.value = "";  // so that the same ones may be chosen again
};
byId("cancel").onclick = () => running.abort();
byId("again").onclick = () => predict(undone());
byId("download").onclick = download;
const drop = byId("drop");
for (const name of ["dragenter", "dragover", "dragleave", "drop"])
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name !== "drop") return;
    const items = [...event.dataTransfer.items];  // texts and folders, too
    choose(items.filter((item) => item.kind === "file" && !item.webkitGetAsEntry()?.isDirectory).map((item) => item.getAsFile()));
  });

const full = byId("full");  // a modal dialog: the browser keeps the focus in it, and Escape closes it
byId("close").onclick = () => full.close();
byId("previous").onclick = () => showFull(current - 1);
byId("next").onclick = () => showFull(current + 1);
byId("actual").onclick = ({ target }) => {
  target.ariaPressed = String(byId("full-picture").classList.toggle("actual"));
};
full.onkeydown = ({ key }) => {
  if (byId("full-picture").classList.contains("actual")) return;  // arrows scroll
  if (key === "ArrowLeft" || key === "ArrowRight") showFull(current + (key === "ArrowLeft" ? -1 : 1));
};
full.onclose = () => {
  byId("full-picture").replaceChildren();
  cards[current].frame.focus();
};
