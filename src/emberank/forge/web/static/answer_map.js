// Vectors in; a map of two dimensions out, whose points can be reached by keyboard and say what they are. Knows no model.

import { el } from "./answer_parts.js";
import { listed } from "./answer_orders.js";
import { projected } from "./answer_projection.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 0.6; // of the width
const EDGE = 28;
const TOGETHER = 13; // points nearer than this are one mark
const LETTER = 6.7; // width of a letter of a label, about
const MOST_WORDS = 14; // with more marks than this only numbers are written

function svg(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// The map of unit vectors. `points` are {number, name, label}, one for each.
export function pointMap(units, points) {
  const { points: places, shares } = projected(units);
  if (!shares) return el("p", { class: "note" }, "All vectors are the same: they are one point.");
  const picture = svg("svg", { class: "answer-points", role: "group", "aria-label": "Map of the inputs; arrow keys go from point to point" });
  const detail = el("p", { class: "answer-detail small", "aria-hidden": "true" }, "Point at a mark, or go there with the Tab and arrow keys, to read it.");
  const frame = el("div", { class: "answer-map-frame" }, picture);
  let width = 0;
  const draw = (wide) => {
    if (Math.abs(wide - width) < 8) return;
    width = wide;
    fill(picture, marksOf(places, points, width), width, detail);
  };
  draw(640);
  new ResizeObserver(([entry]) => entry.contentRect.width && draw(Math.round(entry.contentRect.width))).observe(frame);
  return el("div", {}, el("p", { class: "small muted answer-shares" }, sharesWords(shares)), frame, detail);
}

function sharesWords(shares) {
  const percent = (share) => (share > 0.9995 ? "100" : share * 100 < 0.05 ? "under 0.1" : (share * 100).toFixed(1));
  return (
    `Principal components: ${percent(shares[0])} % of the variance across and ${percent(shares[1])} % upward, together ${percent(shares[0] + shares[1])} %. ` +
    "What lies apart is different; what lies close may differ in what a flat map cannot show."
  );
}

// Where each mark stands in the picture, the same measure across and upward. Points that would cover each other are one mark.
function marksOf(places, points, width) {
  const height = width * HEIGHT;
  const ends = [0, 1].map((axis) => [Math.min(...places.map((place) => place[axis])), Math.max(...places.map((place) => place[axis]))]);
  const spans = ends.map(([low, high]) => high - low);
  const scale = Math.min((width - 2 * EDGE) / (spans[0] || 1e-9), (height - 2 * EDGE) / (spans[1] || 1e-9));
  const middle = ends.map(([low, high]) => (low + high) / 2);
  const marks = [];
  places.forEach((place, i) => {
    const x = width / 2 + (place[0] - middle[0]) * scale;
    const y = height / 2 - (place[1] - middle[1]) * scale;
    const near = marks.find((mark) => Math.hypot(mark.x - x, mark.y - y) < TOGETHER);
    near ? near.points.push(points[i]) : marks.push({ x, y, points: [points[i]] });
  });
  return marks;
}

function fill(picture, marks, width, detail) {
  picture.setAttribute("viewBox", `0 0 ${width} ${Math.round(width * HEIGHT)}`);
  const taken = marks.map((mark) => ({ left: mark.x - 9, right: mark.x + 9, top: mark.y - 9, bottom: mark.y + 9 }));
  const drawn = marks.map((mark, i) => {
    const words = wordsOf(mark);
    const made = svg("g", { class: "answer-point", role: "img", tabindex: i ? "-1" : "0", "aria-label": words, "data-numbers": mark.points.map((point) => point.number).join(",") });
    made.append(svg("circle", { cx: mark.x, cy: mark.y, r: mark.points.length > 1 ? 8 : 6 }), label(mark, marks.length <= MOST_WORDS, taken, width));
    const tell = () => (detail.textContent = words);
    made.addEventListener("focus", tell);
    made.addEventListener("pointerenter", tell);
    return made;
  });
  picture.replaceChildren(...drawn);
  picture.onkeydown = (event) => walk(event, drawn);
}

function wordsOf(mark) {
  const said = mark.points.slice(0, 8).map((point) => `${point.number}: ${point.name}`);
  const left = mark.points.length - said.length;
  return [...said, ...(left > 0 ? [`and ${left} more at the same place`] : [])].join("; ");
}

// The number, and a few words where there is room for them.
function label(mark, worded, taken, width) {
  const numbers = mark.points.map((point) => point.number);
  const short = numbers.length > 4 ? `${numbers.slice(0, 3).join(", ")} +${numbers.length - 3}` : listed(numbers.map(String));
  const whole = `${short} ${mark.points[0].label}`;
  const inward = mark.x > width / 2;
  for (const words of worded && mark.points.length === 1 ? [whole, short] : [short]) for (const before of [inward, !inward]) {
    const long = words.length * LETTER;
    const from = before ? mark.x - 13 - long : mark.x + 13;
    const box = { left: from, right: from + long, top: mark.y - 8, bottom: mark.y + 8 };
    const free = box.left > 2 && box.right < width - 2 && !taken.some((other) => other.left < box.right && box.left < other.right && other.top < box.bottom && box.top < other.bottom);
    if (!free) continue;
    taken.push(box);
    return svg("text", { x: before ? mark.x - 13 : mark.x + 13, y: mark.y + 4, "text-anchor": before ? "end" : "start" }, words);
  }
  return "";
}

// One stop of the Tab key, and arrows from there: 100 points are not 100 stops.
function walk(event, drawn) {
  const now = drawn.indexOf(document.activeElement);
  const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -now, End: drawn.length - 1 - now }[event.key];
  if (by === undefined || now < 0) return;
  event.preventDefault();
  const next = drawn[Math.min(drawn.length - 1, Math.max(0, now + by))];
  drawn[now].setAttribute("tabindex", "-1");
  next.setAttribute("tabindex", "0");
  next.focus();
}
