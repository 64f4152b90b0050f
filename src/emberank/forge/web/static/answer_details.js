// A run in; what it took, what it cost, what was remarked, and its JSON out. Says "not known" of what no header says.

import { counted, duration, listed, truncatedOf } from "./answer_orders.js";
import { button, copyButton, el, note } from "./answer_parts.js";

const SHOWN = 200_000; // characters of JSON that are laid out
const AMOUNT = /^\d+(\.\d+)?(e-?\d+)?$/i;

function number(said) {
  return said !== undefined && said !== null && said !== "" && Number.isFinite(Number(said)) ? Number(said) : null;
}

// Milliseconds by name in Server-Timing.
function stages(header = "") {
  const found = {};
  for (const entry of header.split(",")) {
    const [name, ms] = entry.split(";dur=");
    if (number(ms) !== null) found[name.trim()] = Number(ms);
  }
  return found;
}

// What is known of a run: times in ms or null, tokens, cost, target, model, request id.
export function tookOf(run) {
  const said = run.headers ?? {};
  const took = stages(said["server-timing"]);
  const usage = run.answer?.usage;
  return {
    total: number(run.elapsedMs),
    held: number(said["x-emberank-cold-start-ms"]),
    queue: number(said["x-emberank-queue-ms"]) ?? took.queue ?? null,
    tokenize: took.tokenize ?? null,
    model: number(said["x-emberank-model-ms"]) ?? took.engine ?? null,
    decode: took.decode ?? null,
    tokens: number(said["emberank-prompt-tokens"]) ?? number(usage?.total_tokens) ?? number(usage?.prompt_tokens),
    cost: AMOUNT.test(said["x-emberank-cost-usd"] ?? "") ? said["x-emberank-cost-usd"] : null,
    target: said["x-emberank-target"] ?? null,
    version: said["x-emberank-model"] ?? null,
    id: said["x-request-id"] ?? null,
  };
}

export function heldWords(ms) {
  return ms === 0 ? ["none", el("span", { class: "answer-of" }, "it was warm")] : [duration(ms)];
}

// The amount, and what it is made of. A target without a price sends none, and neither does what never came to a target.
export function costWords({ cost, target }) {
  const said = (amount, words) => [amount, el("span", { class: "answer-of" }, words)];
  if (cost === null) return target ? said("not known", "this target has no price") : ["not known"];
  if (Number(cost) === 0) return said("0 USD", "this target’s price is 0");
  return said(`${plain(cost)} USD`, `model time × price; ${millions(cost)}`);
}

// Twelve decimals are the header's: an exponent is written out.
function plain(cost) {
  return /e/i.test(cost) ? Number(cost).toFixed(12).replace(/0+$/, "") : cost;
}

function millions(cost) {
  return `${(Number(cost) * 1e6).toLocaleString("en", { maximumSignificantDigits: 3 })} USD for a million like it`;
}

export function targetWords(took) {
  return took.target ? took.target.replace("/", " in ") : "not known";
}

// Times, tokens, cost, and the id by which the logs know the request.
export function timing(run) {
  const took = tookOf(run);
  const id = el("code", { class: "answer-request-id" }, took.id ?? "not known");
  const facts = [
    ["Total, seen from here", [duration(took.total)], "total"],
    ["Held for a start", heldWords(took.held), "held"],
    ["In the queue", [duration(took.queue)], "queue"],
    ["In the model", [duration(took.model)], "model"],
    ["Tokens read", [took.tokens === null ? "not known" : took.tokens.toLocaleString("en")], "tokens"],
    ["Cost", costWords(took), "cost"],
    ["Target", [targetWords(took)], "target"],
    ["Model and version", [took.version ?? "not known"], "version"],
  ]
    .filter(([, words]) => run.answer || words.at(0) !== "not known") // of what failed only what is known
    .map(([name, words, key]) => el("div", { "data-fact": key }, el("dt", {}, name), el("dd", {}, ...words)));
  const asked = el("div", { class: "answer-asked", "data-fact": "id" }, el("dt", {}, "Request id"), el("dd", {}, id, took.id ? copyButton("Copy", () => took.id, () => id) : null));
  if (!run.headers || took.total === null) return null;
  return el("section", { class: "answer-took" }, el("h4", {}, "Time and cost"), split(took), el("dl", { class: "facts answer-facts" }, ...facts, asked), watched(run));
}

// Where the time went, as one bar with its parts in words.
export function split(took) {
  const parts = [
    ["held", "held for a start", took.held],
    ["queue", "queue", took.queue],
    ["model", "model", took.model],
    ["reading", "reading tokens and images", (took.tokenize ?? 0) + (took.decode ?? 0) || null],
  ].filter(([, , ms]) => ms > 0);
  const known = parts.reduce((sum, [, , ms]) => sum + ms, 0);
  if (!took.total || took.model === null) return null;
  if (known > took.total) return el("p", { class: "small muted" }, "Parts of this request ran at the same time: their times add up to more than the total.");
  parts.push(["rest", "network and all else", took.total - known]);
  const bar = el("div", { class: "answer-split", "aria-hidden": "true" });
  for (const [kind, , ms] of parts) {
    const piece = el("span", { "data-part": kind });
    piece.style.flexGrow = String(ms / took.total);
    bar.append(piece);
  }
  const words = parts.map(([kind, name, ms]) => el("li", {}, el("span", { class: "answer-swatch", "data-part": kind, "aria-hidden": "true" }), `${name} ${duration(ms)}`));
  return el("div", { class: "answer-parts" }, bar, el("ul", { class: "answer-legend" }, ...words));
}

function watched(run) {
  const words = (run.phases ?? []).filter((phase) => number(phase?.ms) !== null).map((phase) => `${phase.name} ${duration(phase.ms)}`);
  return words.length > 1 ? el("p", { class: "small muted" }, `Seen from here: ${listed(words)}.`) : null;
}

// What the answer's headers remark.
export function remarks(run, one) {
  const said = run.headers ?? {};
  const cut = truncatedOf(run);
  const made = [];
  if (said["emberank-random-weights"]) made.push(["warning", "These weights are random: the numbers mean nothing. They are for trials of speed only."]);
  if (said["emberank-fallback"]) made.push(["warning", `${said["emberank-fallback"]} answered in this model’s place: nothing could answer for it just now.`]);
  if (cut.places.size || cut.words) {
    const places = [...cut.places].sort((a, b) => a - b).map((place) => String(place + 1));
    const which = cut.words || `${places.length > 1 ? `${one}s` : one} ${places.length > 12 || cut.more ? `${places.slice(0, 12).join(", ")} and more` : listed(places)}`;
    made.push(["warning", `Too long, so not all of it was read: ${which}.`]);
  }
  if (said["emberank-ignored-fields"]) made.push(["note", `Fields that were ignored: ${said["emberank-ignored-fields"]}.`]);
  return made.map(([kind, words]) => note(kind, words));
}

const FAILED = {
  cancelled: "It was cancelled.",
  deadline: "The time that was allowed for it was over.",
  network: "The server could not be reached, or went away before it answered.",
  unreadable: "What came could not be read.",
};

export function failure(run) {
  const error = run.error ?? { status: run.status, message: null, retryAfterS: null };
  const after = number(error.retryAfterS);
  const said = error.message || FAILED[error.kind] || "Nothing was said about why.";
  const why = /[.!?]$/.test(said) ? said : `${said}.`;
  return el(
    "section",
    { class: "answer-failure" },
    el("h3", {}, error.status ? `No answer: status ${error.status}` : "No answer"),
    note("error", why, after !== null ? ` It may be tried again in ${counted(Math.ceil(after), "second")}.` : null),
  );
}

// JSON with lists of numbers on one line, up to `most` characters: {text, whole}. It stops there, however much there is.
export function pretty(value, most = Infinity) {
  const parts = [];
  let size = 0;
  const put = (text) => {
    parts.push(text);
    size += text.length;
    return size <= most;
  };
  const flat = (list) => list.every((one) => typeof one === "number");
  const write = (one, indent) => {
    if (one === null || typeof one !== "object") return put(JSON.stringify(one) ?? "null");
    const isList = Array.isArray(one);
    const keys = isList ? one : Object.keys(one).filter((key) => one[key] !== undefined);
    if (!keys.length) return put(isList ? "[]" : "{}");
    const inline = isList && flat(one);
    const deeper = inline ? "" : `\n${indent}  `;
    let going = put(isList ? "[" : "{");
    for (let i = 0; going && i < keys.length; i += 1) {
      going = put((i ? (inline ? ", " : ",") : "") + deeper) && (isList || put(`${JSON.stringify(keys[i])}: `)) && write(isList ? one[i] : one[keys[i]], `${indent}  `);
    }
    return going && put((inline ? "" : `\n${indent}`) + (isList ? "]" : "}"));
  };
  const whole = write(value, "");
  const text = parts.join("");
  return whole ? { text, whole } : { text: text.slice(0, most), whole };
}

// Request and answer, drawn when they are looked at.
export function raw(run) {
  const made = el("details", { class: "answer-raw" }, el("summary", {}, "Raw JSON of request and answer"));
  made.addEventListener(
    "toggle",
    () => {
      made.append(...[["request", run.body], ["answer", run.answer ?? run.error]].map(([name, value]) => document_(name, value ?? null, run)));
    },
    { once: true },
  );
  return made;
}

function document_(name, value, run) {
  const { text, whole } = pretty(value, SHOWN);
  const code = el("pre", { tabindex: "0", role: "group", "aria-label": `JSON of the ${name}`, dir: "ltr" }, text);
  const tools = el(
    "div",
    { class: "answer-buttons" },
    copyButton("Copy", () => pretty(value).text, () => code),
    button("Download", () => download(value, `${run.model?.slug ?? "run"}-${name}.json`)),
  );
  const cut = whole ? null : note("note", `Only the first ${SHOWN.toLocaleString("en")} characters are shown; “Copy” and “Download” have it whole.`);
  return el("section", { "data-raw": name }, el("h4", {}, name === "request" ? "Request" : "Answer"), tools, cut, code);
}

function download(value, name) {
  const address = URL.createObjectURL(new Blob([pretty(value).text], { type: "application/json" }));
  const link = el("a", { href: address, download: name.replace(/[^A-Za-z0-9_.-]/g, "-") });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000); // a download that waits for its place still needs it
}
