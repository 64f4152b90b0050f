// A model's status as the API has it in, the words of the status panel out. Texts change in their places: nothing moves, and nothing that is selected is lost.

import { NOTHING, ms, plural, seconds, sentence, write } from "./words.js";

const panel = document.getElementById("status");
const list = document.getElementById("endpoints");
const remedies = JSON.parse(document.getElementById("path")?.dataset.remedies ?? "{}");

let standing = null;
let receivedAt = 0;

const sinceSeconds = () => (performance.now() - receivedAt) / 1000;
const utc = (moment) => `${moment.slice(0, 19).replace("T", " ")} UTC`;

export function progressWords(one, passed = 0) {
  if (!one.progress) return NOTHING;
  const parts = [one.progress.step || "starting"];
  if (one.progress.percent !== null) parts.push(`${one.progress.percent}%`);
  parts.push(`${seconds(one.progress.took_s + passed)} so far`);
  if (one.eta_s !== null) parts.push(one.eta_s > passed ? `about ${seconds(one.eta_s - passed)} to go` : "longer than usual");
  return parts.join(", ");
}

// How much of a start is over, from 0 to 100: as the runtime says, else by what starts usually take; null where neither is known.
export function share(one, passed = 0) {
  if (one.progress && one.progress.percent !== null) return one.progress.percent;
  if (!one.progress || one.eta_s === null) return null;
  const took = one.progress.took_s + passed;
  return Math.min(99, (100 * took) / (one.progress.took_s + one.eta_s || 1));
}

export const remedy = (reason) => remedies[reason] ?? "";

function words(one, passed) {
  const warm = one.phase === "WARM";
  const idle = one.idle_for_s === null ? null : one.idle_for_s + passed;
  let stops = NOTHING;
  if (warm && one.keep_warm) stops = "kept warm until it is stopped";
  else if (warm && idle === null) stops = `${seconds(one.idle_after_s)} after its last request`;
  else if (warm) stops = `in ${seconds(Math.max(0, one.idle_after_s - idle))} unless a request comes`;
  const since = `${one.phase.toLowerCase()} since ${utc(one.since)}`;
  return {
    where: `${one.gpu_type} in ${one.region}`,
    since,
    progress: progressWords(one, passed),
    queue: warm ? String(one.queue_depth) : NOTHING,
    idle: warm ? (idle === null ? "in use" : seconds(idle)) : NOTHING,
    stops,
    startup: warm ? ms(one.startup_ms) : NOTHING,
    usual: one.usual_cold_start_ms === null ? NOTHING : `${ms(one.usual_cold_start_ms)}, n = ${one.usual_cold_start_n}`,
    "why-name": one.phase === "FAILED" ? "Why" : "Message",
    why: one.message ? one.message + (one.retry_in_s !== null ? `; next try in ${seconds(Math.max(0, one.retry_in_s - passed))}` : "") : "",
    todo: one.phase === "FAILED" ? remedy(one.reason) : "",
  };
}

const NONE = { where: "none", since: NOTHING, progress: NOTHING, queue: NOTHING, idle: NOTHING, stops: NOTHING, startup: NOTHING, usual: NOTHING, why: "", todo: "" };

function fill(rows, texts) {
  for (const place of rows.querySelectorAll("[data-field]")) {
    const text = texts[place.dataset.field];
    if (text === undefined) continue;
    write(place, text);
    const row = place.closest(".why");
    if (row && place.tagName === "DD") row.hidden = text === "";
  }
}

function draw() {
  const passed = sinceSeconds();
  const all = standing.endpoints.length ? standing.endpoints.map((one) => words(one, passed)) : [NONE];
  const have = [...list.children];
  for (const more of have.slice(all.length)) more.remove();
  all.forEach((texts, i) => {
    let rows = have[i];
    if (!rows) {
      rows = list.firstElementChild.cloneNode(true);
      for (const place of rows.querySelectorAll("[data-text]")) delete place.dataset.text;
      list.append(rows);
    }
    fill(rows, texts);
  });
}

export function show(status) {
  standing = status;
  receivedAt = performance.now();
  const phase = panel.querySelector(".phase");
  if (phase.dataset.phase !== status.phase) {
    phase.dataset.phase = status.phase;
    phase.textContent = status.phase.toLowerCase();
  }
  const many = status.endpoints.length > 1 ? `${plural(status.endpoints.length, "endpoint")}.` : "";
  write(panel.querySelector('[data-field="message"]'), status.message ? sentence(status.message) : many);
  draw();
}

// Countdowns go on between two messages.
setInterval(() => {
  if (standing?.endpoints.length && document.visibilityState === "visible") draw();
}, 1000);
