// A run in, or two, and the view of its answer out, in the place of what an element held. Knows no form and sends nothing.
// A view is fetched when there is something for it to show: whoever ranks does not load what draws vectors.

import { failure, raw, remarks, split, timing, tookOf } from "./answer_details.js";
import { el, nameOf, note } from "./answer_parts.js";
import { part } from "./playground_parts.js";

const VIEWS = { rank: "answer_ranking.js", embed: "answer_vectors.js" };
const KINDS = { rank: "ranking", embed: "embeddings" };
const drawing = new WeakMap(); // what each element is to show next: a view that comes late does not replace a later one

/** Show the answer of a run, or its error. Resolves when it is there. */
export async function showAnswer(element, run) {
  await show(element, () => answerOf(run));
}

/** Show two runs: how they differ first, then each by itself. Where one has failed, the other one is shown with the error beside it. */
export async function showComparison(element, runs) {
  const [left, right] = runs;
  await show(element, () => (left && right ? comparisonOf(runs) : answerOf(left ?? right)));
}

async function show(element, draw) {
  const turn = {};
  drawing.set(element, turn);
  const made = await draw();
  if (drawing.get(element) === turn) element.replaceChildren(made);
}

function hasFailed(run) {
  return Boolean(run.error) || !run.answer;
}

async function answerOf(run, beside = false) {
  const { kind, view } = hasFailed(run) ? { kind: "error", view: failure(run) } : await viewOf(run);
  const took = beside && !hasFailed(run) ? split(tookOf(run)) : timing(run); // beside another one the table of both has the numbers
  const said = remarks(run, run.model?.task === "embed" ? "input" : "passage");
  return el("article", { class: "answer", "data-answer": kind, "data-run": run.id }, ...said, view, took, raw(run));
}

async function viewOf(run) {
  const task = Array.isArray(run.answer.rankings) ? "rank" : Array.isArray(run.answer.data) ? "embed" : null;
  if (!task) return { kind: "unknown", view: note("warning", "The answer is neither a ranking nor a list of vectors: its raw JSON is below.") };
  const view = await loaded(VIEWS[task]);
  return view ? { kind: KINDS[task], view: view.draw(run) } : { kind: "unknown", view: away("view of this answer") };
}

// A module, or null where the server has gone away since.
const loaded = (name) => part(name).catch(() => null);

function away(what) {
  return note("warning", `The ${what} could not be loaded: the server is away. The raw JSON is below; run again when it is back.`);
}

async function comparisonOf(runs) {
  const compared = await loaded("answer_difference.js");
  const failed = runs.filter(hasFailed).length;
  const between = failed ? null : compared ? compared.difference(runs) : away("comparison");
  const words = [
    "The two answers are of different kinds and cannot be compared: each is below by itself.",
    "Only one of the two answered: there is nothing to compare.",
    "Neither of the two answered.",
  ][failed];
  const sides = await Promise.all(runs.map((run) => answerOf(run, true)));
  const each = sides.map((side, i) => el("div", { class: "answer-side", "data-side": "AB"[i] }, el("h3", { class: "answer-name" }, `${"AB"[i]} · ${nameOf(runs[i])}`), side));
  return el(
    "article",
    { class: "answer answer-comparison", "data-answer": "comparison" },
    el("h3", {}, "A and B compared"),
    between ?? note("warning", words),
    compared?.sideBySide(runs),
    el("div", { class: "answer-both" }, ...each),
  );
}
