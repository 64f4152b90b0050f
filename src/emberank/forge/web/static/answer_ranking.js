// A ranking run in; its passages, best first, with honest bars and how far each one moved, out. Knows no form.

import { SCALES, axisOf, counted, decimalsFor, rankingOf, truncatedOf, written } from "./answer_orders.js";
import { content, el, note, stepwise } from "./answer_parts.js";

const FIRST = 50;
const STEP = 100;

// The view, or null where the answer is no ranking.
export function draw(run) {
  const ranking = rankingOf(run);
  if (!ranking) return null;
  const { entries, passages } = ranking;
  const scale = SCALES[ranking.scale];
  const scores = entries.map((one) => one.score);
  const axis = axisOf(scores, scale.unit);
  const drawing = { passages, axis, decimals: decimalsFor(scores.slice(0, FIRST)), name: scale.name, cut: truncatedOf(run).places, many: entries.length };
  const list = el("ol", { class: "answer-list" });
  const more = stepwise(list, entries, (one) => row(one, drawing), { first: FIRST, step: STEP, one: "passage" });
  const left = passages.length - entries.length - ranking.unread;
  return el(
    "section",
    { class: "answer-ranking" },
    el("h3", {}, left > 0 ? `The best ${entries.length.toLocaleString("en")} of ${counted(passages.length, "passage")}` : `${counted(entries.length, "passage")}, best first`),
    el("p", { class: "small muted answer-scale" }, el("strong", {}, `Score: ${scale.name}. `), scale.words, " ", barWords(axis, drawing)),
    ...notes(ranking),
    scaleLine(axis, drawing),
    list,
    more,
  );
}

function notes({ entries, unread }) {
  const made = [];
  if (!entries.length) made.push(note("note", "The answer holds no passage."));
  if (entries.some((one) => one.tied)) made.push(note("note answer-ties", "Some passages have exactly the same score: they keep the order of the request."));
  if (unread) made.push(note("warning", `${counted(unread, "entry", "entries")} of the answer cannot be read: see the raw JSON.`));
  return made;
}

function barWords(axis, { decimals }) {
  if (axis.low === 0 && axis.high === 1) return "Bars go from 0 to 1.";
  const end = (x) => (x === 0 ? "0" : written(x, decimals));
  return `Bars begin at 0${axis.low < 0 ? ", and those of negative scores go to the left: there a shorter one is better" : ""}. The scale is from ${end(axis.low)} to ${end(axis.high)}.`;
}

function scaleLine(axis, { decimals }) {
  const ends = [axis.low, axis.high].map((end) => el("span", {}, end === 0 || end === 1 ? String(end) : written(end, decimals)));
  return el("div", { class: "answer-axis", "aria-hidden": "true" }, el("div", {}, ...ends));
}

function row(one, drawing) {
  const { axis, passages, decimals } = drawing;
  const number = one.index + 1;
  const score = el("div", { class: "answer-score" }, el("span", { class: "answer-number", "data-score": one.score }, written(one.score, decimals)), bar(one.score, axis));
  const said = [moved(one, passages.length)];
  if (one.tied) said.push(el("span", { class: "chip" }, "tie"));
  if (drawing.cut.has(one.index)) said.push(el("span", { class: "chip warn" }, "not all of it was read"));
  if (Number.isInteger(one.chunk?.number) && Number.isInteger(one.chunk?.of)) said.push(el("span", { class: "chip answer-piece" }, `best piece: ${one.chunk.number + 1} of ${one.chunk.of}`));
  if (drawing.name !== SCALES.logit.name) said.push(el("span", { class: "answer-of" }, `logit ${written(one.logit)}`));
  return el(
    "li",
    { class: "answer-row", "data-index": one.index, "data-place": one.place },
    el("span", { class: "answer-place" }, String(one.place)),
    score,
    el("div", { class: "answer-passage" }, el("p", { class: "answer-said" }, ...said), content(passages[one.index], number, one.chunk)),
  );
}

function bar(score, axis) {
  const { start, length } = axis.bar(score);
  const fill = el("span", { class: "answer-fill", "data-sign": score < 0 ? "below" : "above" });
  fill.style.left = `${start}%`;
  fill.style.width = `${length}%`;
  const zero = el("span", { class: "answer-zero" });
  zero.style.left = `${axis.zero}%`;
  return el("div", { class: "answer-bar", "aria-hidden": "true" }, fill, zero);
}

// Where it stood in the request, and how far it is from there.
function moved(one, many) {
  const by = one.index + 1 - one.place;
  const [sign, words] = by > 0 ? ["▲", `up ${by}`] : by < 0 ? ["▼", `down ${-by}`] : ["=", "not moved"];
  return el("span", { class: "answer-moved", "data-moved": by }, `passage ${one.index + 1}${many ? ` of ${many}` : ""} · `, el("span", { "aria-hidden": "true" }, `${sign} `), words);
}
