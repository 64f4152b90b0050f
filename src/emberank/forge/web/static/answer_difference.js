// Two runs in; how they differ in order or in likeness, in time and in cost, out. Knows no form.

import { costWords, heldWords, targetWords, tookOf } from "./answer_details.js";
import { SCALES, agreement, counted, decimalsFor, duration, inputsOf, keyOf, matched, rankingOf, tauWords, written } from "./answer_orders.js";
import { el, inWords, nameOf, note, scrolling, stepwise } from "./answer_parts.js";
import { cosines } from "./answer_projection.js";
import { embeddingsOf, matrixTable } from "./answer_vectors.js";

const FIRST = 50;
const STEP = 100;
const MOST_IN_MATRIX = 40;
const MOST_COMPARED = 100;
const TOP = 3;
const SCALES_DIFFER = "Scores of different models are on different scales: places can be compared, numbers cannot.";

// Times and cost of both, one beside the other.
export function sideBySide(runs) {
  const took = runs.map(tookOf);
  const rows = [
    ["Target", (one) => targetWords(one)],
    ["Model and version", (one) => one.version ?? "not known"],
    ["Total, seen from here", (one) => duration(one.total)],
    ["Held for a start", (one) => heldWords(one.held)],
    ["In the queue", (one) => duration(one.queue)],
    ["In the model", (one) => duration(one.model)],
    ["Tokens read", (one) => (one.tokens === null ? "not known" : one.tokens.toLocaleString("en"))],
    ["Cost", (one) => costWords(one)],
    ["Request id", (one) => one.id ?? "not known"],
  ];
  const head = el("tr", {}, el("td", {}), ...runs.map((run, i) => el("th", { scope: "col" }, `${"AB"[i]} · ${nameOf(run)}`)));
  const body = rows.map(([name, say]) => el("tr", {}, el("th", { scope: "row" }, name), ...took.map((one) => el("td", {}, ...[say(one)].flat()))));
  return el(
    "section",
    { class: "answer-sides" },
    el("h4", {}, "Time and cost"),
    scrolling("Time and cost of both runs", el("table", { class: "data" }, el("thead", {}, head), el("tbody", {}, ...body))),
    el("p", { class: "small muted" }, "One request each says little about speed: the targets’ tables have the measured times."),
  );
}

// The difference of two answers of one kind, or null where they cannot be compared.
export function difference(runs) {
  const rankings = runs.map(rankingOf);
  if (rankings.every(Boolean)) return orders(runs, rankings);
  const vectors = runs.map((run) => embeddingsOf(run, MOST_COMPARED));
  return vectors.every(Boolean) ? likenesses(runs, vectors) : null;
}

function orders(runs, rankings) {
  const keys = rankings.map((ranking) => ranking.passages.map(keyOf));
  const partner = matched(...keys);
  const [byLeft, byRight] = rankings.map((ranking) => new Map(ranking.entries.map((one) => [one.index, one])));
  const pairs = partner.map(([i, j]) => ({ content: rankings[0].passages[i], number: i + 1, left: byLeft.get(i), right: byRight.get(j) })).filter((pair) => pair.left || pair.right);
  const both = pairs.filter((pair) => pair.left && pair.right);
  const found = agreement(both.map((pair) => pair.left.logit), both.map((pair) => pair.right.logit));
  pairs.sort((a, b) => (a.left?.place ?? Infinity) - (b.left?.place ?? Infinity) || (a.right?.place ?? 0) - (b.right?.place ?? 0));
  return el("section", { class: "answer-orders" }, el("h4", {}, "Order"), ...orderWords(runs, rankings, both, found, keys), ...placesTable(rankings, pairs));
}

function orderWords(runs, rankings, both, found, keys) {
  const top = Math.min(TOP, both.length, ...rankings.map((ranking) => ranking.entries.length));
  const shared = both.filter((pair) => pair.left.place <= top && pair.right.place <= top).length;
  const first = both.find((pair) => pair.left.place === 1);
  const facts = [];
  if (both.length > 1) {
    const [same, turned] = [found.same, found.turned].map((many) => many.toLocaleString("en"));
    const words = `${tauWords(found.tau)}: of ${counted(found.pairs, "pair")} that both ranked, ${same} in the same order, ${turned} turned round`;
    facts.push(["Kendall’s τ", tauNumber(found.tau), words]);
    facts.push([`Best ${top} in common`, `${shared} of ${top}`, shared === top ? "the same passages, in whatever order" : "passages that both have among their best"]);
  }
  if (first) facts.push(["A’s best", first.right.place === 1 ? "also B’s best" : `B has it at ${first.right.place}`, inWords(first.content, first.number, 40)]);
  const closeness = sameModel(runs) ? closeWords(both) : null;
  if (closeness) facts.push(closeness);
  const made = [factsOf(facts), el("p", { class: "small muted" }, "τ is 1 for the same order, 0 for none in common and −1 for the opposite. ", sameModel(runs) ? "" : SCALES_DIFFER)];
  const alone = keys[0].length + keys[1].length - 2 * matched(...keys).length;
  if (alone) made.push(note("warning", `${counted(alone, "passage")} stood in one request only and cannot be compared.`));
  return made;
}

function tauNumber(tau) {
  return tau === null ? "not defined" : written(tau, 2);
}

function factsOf(facts) {
  const one = ([name, number, words]) => el("div", {}, el("dt", {}, name), el("dd", {}, number, el("span", { class: "answer-of" }, words)));
  return el("dl", { class: "facts answer-agreement" }, ...facts.map(one));
}

function sameModel(runs) {
  const versions = runs.map((run) => run.headers?.["x-emberank-model"]);
  return versions[0] !== undefined && versions[0] === versions[1];
}

// Of one model on two targets the logits themselves should agree.
function closeWords(both) {
  if (!both.length) return null;
  const gaps = both.map((pair) => Math.abs(pair.left.logit - pair.right.logit));
  const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
  return ["Mean difference of logits", written(mean, 4), `at most ${written(Math.max(...gaps), 4)}: the same version gave both answers`];
}

function placesTable(rankings, pairs) {
  const decimals = rankings.map((ranking) => decimalsFor(ranking.entries.slice(0, FIRST).map((one) => one.score)));
  const columns = ["Passage", ...rankings.map((ranking, i) => `${"AB"[i]}: place, ${SCALES[ranking.scale].name}`), "From A to B"];
  const place = (one, i) => (one ? [el("strong", {}, String(one.place)), el("span", { class: "answer-of" }, written(one.score, decimals[i]))] : ["not in the answer"]);
  const body = el("tbody");
  const row = (pair) =>
    el(
      "tr",
      { "data-index": pair.number - 1 },
      el("th", { scope: "row" }, el("span", { class: "answer-number" }, String(pair.number)), el("bdi", {}, ` ${inWords(pair.content, pair.number, 110)}`)),
      el("td", { class: "num" }, ...place(pair.left, 0)),
      el("td", { class: "num" }, ...place(pair.right, 1)),
      el("td", { class: "answer-moved" }, ...movedWords(pair)),
    );
  const more = stepwise(body, pairs, row, { first: FIRST, step: STEP, one: "passage" });
  const head = el("tr", {}, ...columns.map((words, i) => el("th", { scope: "col", class: i === 1 || i === 2 ? "num" : null }, words)));
  return [scrolling("Places of each passage in both runs", el("table", { class: "data answer-places" }, el("thead", {}, head), body)), more];
}

function movedWords({ left, right }) {
  if (!left || !right) return ["not known"];
  const by = left.place - right.place;
  if (!by) return [el("span", { "aria-hidden": "true" }, "= "), "same place"];
  return [el("span", { "aria-hidden": "true" }, by > 0 ? "▲ " : "▼ "), `${by > 0 ? "up" : "down"} ${Math.abs(by)}`];
}

const GAP_WORDS = "B’s cosine less A’s, for each pair of inputs. Above 0, B finds the two more alike than A does; the deepest colour is the largest difference here.";

function likenesses(runs, vectors) {
  const keys = runs.map((run, side) => vectors[side].places.map((place) => keyOf(inputsOf(run.body)[place] ?? { text: `${place}` })));
  const partner = matched(...keys);
  const [left, right] = [0, 1].map((side) => cosines(partner.map((pair) => vectors[side].units[pair[side]])));
  const gaps = right.map((row, i) => row.map((value, j) => value - left[i][j]));
  const off = gaps.flatMap((row, i) => [...row.slice(i + 1)].map((gap, k) => ({ gap, i, j: i + 1 + k })));
  const name = (i, most) => inWords(vectors[0].inputs[vectors[0].places[partner[i][0]]], vectors[0].places[partner[i][0]] + 1, most);
  const number = (i) => String(vectors[0].places[partner[i][0]] + 1);
  const [a, b] = vectors.map((one) => one.dimensions);
  const facts = [["Dimensions", `A ${a}, B ${b}`, a === b ? "the same" : "vectors of different lengths are compared by their similarities only"]];
  if (off.length) facts.push(...gapFacts(off, name, number, left, right));
  const most = Math.min(MOST_IN_MATRIX, partner.length);
  const widest = Math.max(1e-9, ...off.map(({ gap }) => Math.abs(gap)));
  const shown = gaps.slice(0, most).map((row) => row.slice(0, most));
  return el(
    "section",
    { class: "answer-likenesses" },
    el("h4", {}, "Similarities"),
    factsOf(facts),
    off.length ? el("p", { class: "small muted" }, GAP_WORDS) : note("note", "Fewer than two inputs are in both runs: there is nothing to compare."),
    off.length ? matrixTable(shown, number, (i) => name(i, 48), "Difference of cosine similarities, B less A", (gap) => gap / widest) : null,
    vectors.some((one) => one.all.length > most) ? note("note", `The table has the first ${most} inputs, the figures above the first ${partner.length}.`) : null,
  );
}

function gapFacts(off, name, number, left, right) {
  const mean = off.reduce((sum, { gap }) => sum + Math.abs(gap), 0) / off.length;
  const worst = off.reduce((a, b) => (Math.abs(b.gap) > Math.abs(a.gap) ? b : a));
  const order = agreement(off.slice(0, 1000).map(({ i, j }) => left[i][j]), off.slice(0, 1000).map(({ i, j }) => right[i][j]));
  const facts = [
    ["Mean difference of cosines", written(mean, 3), `over ${counted(off.length, "pair")} of inputs, sign left out`],
    ["Largest difference", written(worst.gap, 3), `${number(worst.i)} “${name(worst.i, 28)}” and ${number(worst.j)} “${name(worst.j, 28)}”`],
  ];
  const which = `${tauWords(order.tau)}, of which inputs are most alike${off.length > 1000 ? " (first 1,000 pairs)" : ""}`;
  if (off.length > 1) facts.push(["Kendall’s τ of the pairs", tauNumber(order.tau), which]);
  return facts;
}
