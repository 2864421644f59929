"use strict";
// What a person did is a list of steps: verdicts, boxes added and removed. All that is shown and saved follows from it.
const facts = JSON.parse(document.getElementById("facts").textContent);
const { questions, photos, earlier, columns } = facts;
const KEY = `landmarks-review-${facts.id}`;
const KINDS = {
  quarantined: {
    title: "In quarantine: a face is still found after it was obscured",
    meaning: "The photo as it would pass. Red: where a face is still found. Blue: what is obscured.",
    accept: ["pass", "No face is readable: let it pass"],
    reject: ["stay_out", "Keep it out"],
  },
  readable: {
    title: "Found, but not obscured",
    meaning: "In the result this is readable.",
    accept: ["face", "A face: obscure it"],
    reject: ["not_a_face", "No face in the box: leave it"],
  },
  obscured: {
    title: "Obscured",
    meaning: "The original; in the result the box is obscured.",
    accept: ["face", "A face: keep it obscured"],
    reject: ["not_a_face", "No face in the box: leave it readable"],
  },
  unmarked: {
    title: "Nothing was found in this photo",
    meaning: "One of some photos drawn by chance. Is a face in it that was missed? Add it by a box.",
    accept: ["pass", "No other face is readable"],
    reject: ["stay_out", "Keep it out"],
  },
};
const SVG = "http://www.w3.org/2000/svg";
const at = (name) => document.getElementById(name);
let state = load();
let draft = null;

function load() {
  const fresh = { steps: [], now: 0, saved: 0, keys: true };
  try {
    return { ...fresh, ...JSON.parse(localStorage.getItem(KEY) || "{}") };
  } catch {
    return fresh;
  }
}

function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify(state));
  } catch {
    say("This browser keeps nothing for the page: save before you close it.");
  }
}

function say(text) {
  at("status").textContent = text;
}

/** The verdict of each question, and the boxes added to each photo, as the steps so far leave them. */
function outcome() {
  const verdicts = questions.map(() => null);
  const boxes = new Map();
  state.steps.forEach((step, number) => {
    if ("verdict" in step) verdicts[step.question] = step.verdict;
    else if ("box" in step) boxes.set(number, step);
    else boxes.delete(step.removes);
  });
  return { verdicts, boxes: [...boxes] };
}

function take(step) {
  state.steps.push({ ...step, question: state.now });
  keep();
}

function decide(choice) {
  if (!questions.length) return;
  const [verdict, words] = KINDS[questions[state.now].kind][choice];
  const decided = state.now;
  take({ verdict });
  const open = outcome().verdicts;
  const order = [...questions.keys()].map((step) => (decided + 1 + step) % questions.length);
  state.now = order.find((index) => open[index] === null) ?? decided;
  const left = open.filter((given) => given === null).length;
  show(`Question ${decided + 1}: ${words}. ${left ? `${left} left.` : "All are decided: save the verdicts."}`);
}

function undo() {
  const step = state.steps.pop();
  if (step) state.now = step.question;
  state.saved = -1;
  show(step ? `Undone, question ${state.now + 1}.` : "Nothing to undo.");
}

function move(by) {
  state.now = Math.min(Math.max(state.now + by, 0), questions.length - 1);
  show("");
}

function draw(svg, region, boxes) {
  svg.setAttribute("viewBox", region.join(" "));
  svg.replaceChildren(...boxes.map(([[x, y, w, h], kind]) => {
    const rect = document.createElementNS(SVG, "rect");
    Object.entries({ x, y, width: w, height: h, class: kind }).forEach(([name, value]) => rect.setAttribute(name, value));
    return rect;
  }));
}

function fill(frame, shown, boxes, alt) {
  frame.hidden = !shown;
  if (!shown) return;
  const [picture, svg] = frame.children;
  if (picture.src !== shown.picture) picture.src = shown.picture;
  picture.alt = alt;
  draw(svg, shown.region, boxes);
}

function show(said) {
  keep();
  const { verdicts, boxes } = outcome();
  const decided = verdicts.filter((given) => given !== null).length;
  at("progress").max = questions.length || 1;
  at("progress").value = questions.length ? decided : 1;
  const saved = state.saved === state.steps.length ? "" : ", not saved";
  at("count").textContent = `${decided} of ${questions.length}, faces added: ${boxes.length}${saved}`;
  at("save").disabled = !state.steps.length && !earlier.length;
  if (said) say(said);
  [...at("list").children].forEach((item, index) => {
    const button = item.firstChild, mark = button.lastChild, given = verdicts[index];
    if (index === state.now) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    mark.textContent = given ? given.replaceAll("_", " ") : "open";
    mark.className = !given ? "" : given === "face" || given === "pass" ? "yes" : "no";
  });
  if (questions.length) ask({ verdicts, boxes });
}

function ask({ verdicts, boxes }) {
  const question = questions[state.now], given = verdicts[state.now], kind = KINDS[question.kind], photo = photos[question.source];
  const score = question.score === null ? "" : `, score ${question.score.toFixed(2)}`;
  at("title").textContent = `${state.now + 1} of ${questions.length}. ${kind.title}: ${question.photo}${score}`;
  at("meaning").textContent = kind.meaning;
  at("original").href = photo.file;
  at("original").hidden = !photo.file;  // it lies in a shard
  const mine = boxes.filter(([, step]) => step.source === question.source);
  const marked = questions.filter((other) => other.source === question.source && other.box && other !== question);
  const drawn = [
    ...question.cover.map((box) => [box, ""]), ...marked.map((other) => [other.box, ""]),
    ...question.found.map((box) => [box, "found"]), ...mine.map(([, step]) => [step.box, "added"]),
    ...(question.box ? [[question.box, "asked"]] : []), ...(draft ? [[draft, "draft"]] : []),
  ];
  fill(at("photo"), photo, drawn, `Photo ${question.photo}, all of it`);
  fill(at("crop"), question.crop, question.box ? [[question.box, "asked"]] : [], "The detection, with what is around it");
  for (const choice of ["accept", "reject"]) {
    const [verdict, words] = kind[choice];
    at(choice).replaceChildren(key(choice[0]), ` ${words}`);
    at(choice).setAttribute("aria-pressed", String(given === verdict));
  }
  at("previous").disabled = state.now === 0;
  at("next").disabled = state.now === questions.length - 1;
  at("undo").disabled = !state.steps.length;
  at("added-title").hidden = !mine.length;
  at("added").replaceChildren(...mine.map(([number, step]) => {
    const item = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    button.textContent = `Remove the box at ${step.box[0]}, ${step.box[1]}`;
    button.addEventListener("click", () => {
      take({ removes: number });
      show("Removed.");
    });
    item.append(button);
    return item;
  }));
}

function key(letter) {
  const made = document.createElement("kbd");
  made.textContent = letter;
  return made;
}

function list() {
  at("list").replaceChildren(...questions.map((question, index) => {
    const item = document.createElement("li"), button = document.createElement("button");
    const picture = document.createElement("img"), mark = document.createElement("span");
    picture.src = (question.crop || photos[question.source]).picture;
    picture.alt = "";
    button.type = "button";
    button.append(picture, `${index + 1} ${question.kind} `, mark);
    button.addEventListener("click", () => {
      state.now = index;
      show("");
      at("title").focus();
    });
    item.append(button);
    return item;
  }));
}

// Adding a face: a box is dragged, or placed by the keyboard.

function place(event) {
  const frame = at("photo").children[1].getBoundingClientRect();
  const [left, top, width, height] = photos[questions[state.now].source].region;
  const across = Math.min(Math.max((event.clientX - frame.left) / frame.width, 0), 1);
  const down = Math.min(Math.max((event.clientY - frame.top) / frame.height, 0), 1);
  return [left + across * width, top + down * height];
}

function between([x, y], [u, v]) {
  const left = Math.floor(Math.min(x, u)), top = Math.floor(Math.min(y, v));
  return [left, top, Math.ceil(Math.max(x, u)) - left, Math.ceil(Math.max(y, v)) - top];
}

function drag(event) {
  if (!questions.length || event.button) return;
  event.preventDefault();
  const svg = event.currentTarget, start = place(event);
  svg.setPointerCapture(event.pointerId);
  svg.onpointermove = (moved) => {
    draft = between(start, place(moved));
    ask(outcome());
  };
  svg.onpointerup = svg.onpointercancel = (end) => {
    svg.onpointermove = svg.onpointerup = svg.onpointercancel = null;
    draft = between(start, place(end));
    const tiny = Math.hypot(end.clientX - event.clientX, end.clientY - event.clientY) < 4;
    if (tiny || end.type === "pointercancel") draft = null;
    settle();
  };
}

function settle() {
  const box = draft;
  draft = null;
  if (box && box[2] > 0 && box[3] > 0) {
    take({ box, source: questions[state.now].source });
    show("A face is added: the box will be obscured.");
  } else show("");
}

function begin() {
  if (!questions.length) return;
  const [left, top, width, height] = photos[questions[state.now].source].region;
  const side = Math.max(Math.round(Math.min(width, height) / 8), 8);
  draft = [left + Math.round((width - side) / 2), top + Math.round((height - side) / 2), side, side];
  at("title").focus();
  show("A box is in the middle: move it by arrows, resize it by Shift and arrows; Enter adds it, Escape drops it.");
}

function steer(event) {
  const arrows = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, -1], ArrowDown: [1, 1] };
  if (event.key === "Enter") settle();
  else if (event.key === "Escape") {
    draft = null;
    show("Dropped.");
  } else if (arrows[event.key]) {
    const [axis, sign] = arrows[event.key], [left, top, width, height] = photos[questions[state.now].source].region;
    const by = sign * Math.max(Math.round(Math.max(width, height) / 100), 1), most = [width, height][axis];
    if (event.shiftKey) draft[axis + 2] = Math.min(Math.max(draft[axis + 2] + by, 4), most);
    else draft[axis] = Math.min(Math.max(draft[axis] + by, [left, top][axis]), [left, top][axis] + most - 4);
    show(`Box at ${draft[0]}, ${draft[1]}, ${draft[2]} by ${draft[3]}.`);
  } else return;
  event.preventDefault();
}

// Saving: the rows that were there before, but those decided anew, and the new ones.

function rows() {
  const { verdicts, boxes } = outcome();
  const made = new Map();
  const put = (source, photo, box, verdict) => {
    const row = [source, photo, ...(box || ["", "", "", ""]), verdict];
    made.set([source, ...row.slice(2, 6)].join(), row);
  };
  earlier.forEach(([source, photo, x, y, w, h, verdict]) => put(source, photo, [x, y, w, h], verdict));
  const names = Object.fromEntries(questions.map(({ source, photo }) => [source, photo]));
  boxes.forEach(([, { source, box }]) => put(source, names[source], box, "face"));
  questions.forEach(({ source, photo, box, cover }, index) => {
    if (verdicts[index] === "pass") cover.forEach((covered) => put(source, photo, covered, "face")); // as it was seen
    if (verdicts[index]) put(source, photo, box, verdicts[index]);
  });
  return [...made.values()];
}

function csv() {
  const cell = (value) => (/[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
  return [columns, ...rows()].map((row) => `${row.map(cell).join()}\n`).join("");
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = "verdicts.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  state.saved = state.steps.length;
  show(`Saved ${rows().length} verdicts as verdicts.csv, in the folder of your downloads.`);
}

const DO = { a: () => decide("accept"), r: () => decide("reject"), u: undo, f: begin, j: () => move(1), k: () => move(-1),
  ArrowRight: () => move(1), ArrowLeft: () => move(-1) };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (draft) return steer(event);
  if (!state.keys || !DO[event.key]) return;
  event.preventDefault();
  DO[event.key]();
});
for (const [name, run] of Object.entries({ accept: DO.a, reject: DO.r, undo, add: begin, previous: DO.k, next: DO.j, save })) {
  at(name).addEventListener("click", run);
}
at("photo").children[1].addEventListener("pointerdown", drag);
at("keys").checked = state.keys;
at("keys").addEventListener("change", (event) => {
  state.keys = event.target.checked;
  show("");
});
list();
if (!questions.length) at("title").textContent = "There is nothing to decide";
document.querySelector(".question").hidden = !questions.length;
show("");
