// An embedding run in; how alike its inputs are as a table and as a map, and its vectors, out. Knows no form.

import { pointMap } from "./answer_map.js";
import { counted, inputsOf, truncatedOf, written } from "./answer_orders.js";
import { content, el, inWords, note, scrolling, stepwise } from "./answer_parts.js";
import { cosines, directionOf, entriesOf, kindOf, norm, pairsOf, unit } from "./answer_projection.js";

const MOST_IN_MATRIX = 40;
const MOST_ON_MAP = 100;
const FIRST = 20;
const STEP = 50;
const PREVIEW = 8;
const KINDS = {
  float: "numbers (float)",
  int8: "int8 codes: cosines are those of the codes",
  uint8: "uint8 codes: 128 is taken off each before cosines are made",
  binary: "bits, eight to a byte (binary): a cosine is 1 − 2 × the share of bits that differ",
  ubinary: "bits, eight to a byte (ubinary): a cosine is 1 − 2 × the share of bits that differ",
};

// The vectors of a run, those that are compared made ready: {all, units, kind, inputs, dimensions, unread} or null where the answer is none.
export function embeddingsOf(run, most = MOST_ON_MAP) {
  const data = run.answer?.data;
  if (!Array.isArray(data)) return null;
  const kind = kindOf(run.body);
  const all = data.filter((one) => Number.isInteger(one?.index) && one.index >= 0).sort((a, b) => a.index - b.index);
  const read = all.slice(0, most).map((one) => ({ index: one.index, entries: entriesOf(one.embedding, kind) }));
  const length = read.find((one) => one.entries)?.entries.length ?? 0;
  const sound = read.filter((one) => one.entries?.length === length);
  const bits = kind === "binary" || kind === "ubinary";
  return {
    all,
    kind: kind in KINDS ? kind : "float",
    inputs: inputsOf(run.body),
    dimensions: bits ? length * 8 : length,
    places: sound.map((one) => one.index),
    units: sound.map((one) => unit(directionOf(one.entries, kind))),
    unread: data.length - all.length + read.length - sound.length,
  };
}

// The view, or null where the answer holds no embeddings.
export function draw(run) {
  const found = embeddingsOf(run);
  if (!found) return null;
  const many = found.all.length;
  return el(
    "section",
    { class: "answer-vectors" },
    el("h3", {}, `${counted(many, "vector")} of ${counted(found.dimensions, "dimension")}`),
    el("p", { class: "small muted answer-kind" }, `Entries are ${KINDS[found.kind]}.`),
    found.unread ? note("warning", `${counted(found.unread, "vector")} of the answer cannot be read: see the raw JSON.`) : null,
    many ? null : note("note", "The answer holds no vector."),
    ...(found.units.length > 1 ? [likeness(found), map(found)] : [one(found)]),
    preview(found, truncatedOf(run).places),
  );
}

function one({ units }) {
  return units.length ? note("note", "One input alone has nothing to be compared with: send two or more for the similarity table, and three or more for a map that says something.") : null;
}

function named(found, place, most) {
  return inWords(found.inputs[found.places[place]], found.places[place] + 1, most);
}

function likeness(found) {
  const units = found.units.slice(0, MOST_IN_MATRIX);
  const matrix = cosines(units);
  const pairs = pairsOf(matrix);
  const quoted = (place) => el("bdi", {}, `${found.places[place] + 1} “${named(found, place, 40)}”`);
  const said = (pair) => el("li", {}, el("strong", { class: "num" }, written(pair.cosine)), " ", quoted(pair.i), " and ", quoted(pair.j));
  const left = found.all.length - units.length;
  const ends = pairs.length > 3 ? [["Least alike", [pairs.at(-1)]]] : [];
  const lists = [["Most alike", pairs.slice(0, 3)], ...ends].map(([name, which]) => el("div", {}, el("h5", {}, name), el("ul", { class: "answer-pairs" }, ...which.map(said))));
  return el(
    "section",
    { class: "answer-likeness" },
    el("h4", {}, "How alike they are"),
    el("p", { class: "small muted" }, "Cosine similarity: 1 is the same direction, 0 none in common, −1 the opposite. Colour deepens with the number’s size; below 0 it is blue."),
    el("div", { class: "answer-ends" }, ...lists),
    matrixTable(matrix, (i) => String(found.places[i] + 1), (i) => named(found, i, 48), "Cosine similarity of each input with each", (x) => x),
    left > 0 ? note("note", `The table has the first ${units.length} of ${found.all.length.toLocaleString("en")} inputs; all vectors are in the raw JSON.`) : null,
  );
}

// Numbers of each with each, with a name to every row and column. `depth` says how deep the colour of a number is, from −1 to 1.
export function matrixTable(matrix, number, name, caption, depth) {
  const head = el("tr", {}, el("td", {}), ...matrix.map((_, i) => el("th", { scope: "col", title: name(i) }, number(i))));
  const rows = matrix.map((row, i) => {
    const cells = [...row].map((value) => {
      const cell = el("td", { class: "num", "data-sign": depth(value) < 0 ? "below" : "above" }, value.toFixed(2).replace(/^-0\.00$/, "0.00").replace("-", "−"));
      cell.style.setProperty("--depth", Math.min(1, Math.abs(depth(value))).toFixed(3));
      return cell;
    });
    return el("tr", {}, el("th", { scope: "row" }, el("span", { class: "answer-number" }, number(i)), el("bdi", {}, ` ${name(i)}`)), ...cells);
  });
  const table = el("table", { class: "answer-matrix" }, el("caption", { class: "visually-hidden" }, caption), el("thead", {}, head), el("tbody", {}, ...rows));
  const box = scrolling(caption, table);
  box.classList.add("answer-tall");
  return box;
}

function map(found) {
  if (found.units.length < 3) return note("note", "Two inputs always lie on one line, so there is no map: their similarity is all there is to see. Send three or more for one.");
  const points = found.places.map((place, i) => ({ number: place + 1, name: named(found, i, 90), label: named(found, i, 22) }));
  const left = found.all.length - points.length;
  return el(
    "section",
    { class: "answer-map" },
    el("h4", {}, "Map"),
    pointMap(found.units, points),
    left > 0 ? note("note", `The map has the first ${points.length} of ${found.all.length.toLocaleString("en")} inputs.`) : null,
  );
}

function preview(found, cut) {
  if (!found.all.length) return null;
  const body = el("tbody");
  const more = stepwise(body, found.all, (entry) => previewRow(entry, found, cut), { first: FIRST, step: STEP, one: "vector" });
  const head = el("tr", {}, ...["Input", "Length (norm)", "First numbers"].map((words, i) => el("th", { scope: "col", class: i === 1 ? "num" : null }, words)));
  return el(
    "section",
    { class: "answer-preview" },
    el("h4", {}, "Vectors"),
    scrolling("First numbers of every vector", el("table", { class: "data" }, el("thead", {}, head), body)),
    more,
  );
}

function previewRow(entry, found, cut) {
  const entries = entriesOf(entry.embedding, found.kind);
  const numbers = entries ? [...entries.slice(0, PREVIEW)].map((x) => (found.kind === "float" ? written(x, 4) : written(x, 0))).join(", ") : "";
  const rest = entries && entries.length > PREVIEW ? `, … ${(entries.length - PREVIEW).toLocaleString("en")} more` : "";
  const input = found.inputs[entry.index];
  return el(
    "tr",
    { "data-index": entry.index },
    el(
      "th",
      { scope: "row" },
      el("span", { class: "answer-number" }, `${entry.index + 1} `),
      cut.has(entry.index) ? el("span", { class: "chip warn" }, "not all of it was read") : null,
      content(input, entry.index + 1, null, true),
    ),
    el("td", { class: "num" }, entries ? written(norm(directionOf(entries, found.kind)), 4) : "not known"),
    el("td", { class: "answer-entries" }, entries ? `${numbers}${rest}` : "cannot be read"),
  );
}
