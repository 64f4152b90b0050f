// The six steps as live buttons: each asks the API by the session's cookie, says what came back in words, and is ticked off for this target while the tab lives.
// Without this script the buttons load the page anew, which says the same. The words are those of steps.py.

import { progressWords, remedy, share } from "./standing.js";
import { ms, plural, sentence, usd, write } from "./words.js";

const PATIENCE_MS = 30000;
const path = document.getElementById("path");
const slug = document.getElementById("status").dataset.slug;
const KEPT = `emberank.path ${path.dataset.target}`;
const TOTAL = path.querySelectorAll("[data-step]").length;
const ELSEWHERE = "Choose another target in the table below.";
const MEASURE = `Measure it: \`emberank probe ${slug}\` sends the runs that a figure needs.`;

const on = (one) => `${one.gpu_type} in ${one.region}`;

const VERDICTS = {
  verify(found) {
    const [first] = found.routes;
    if (first) {
      const said = `${plural(found.routes.length, "route")}; ${on(first)}: ${first.status}, ${first.availability.message}.`;
      if (path.dataset.maySend) return { ok: true, said: `${said} Your session may send requests.` };
      return { ok: false, said: `${said} Your key may only look.`, todo: "A key with the scope inference sends requests." };
    }
    const instead = found.alternatives.map(on).join(", ");
    const todo = instead ? `It can run on: ${instead}.` : "No pool of this installation can run it: `emberank targets` lists what there is.";
    return { ok: false, said: `No route: ${found.reason}.`, todo };
  },
  validate(found) {
    const { fastest_supported_target: fastest, lowest_cost_supported_target: cheapest } = found;
    const best = (fastest ? ` Fastest: ${on(fastest)}.` : "") + (cheapest ? ` Most affordable: ${on(cheapest)}.` : "");
    const said = sentence(`${found.reliability_status}: ${found.readiness}`);
    if (found.supported_rows) return { ok: true, said: said + best };
    const [row] = found.rows;
    if (!row) return { ok: false, said: `${said} There is no such target.`, todo: ELSEWHERE };
    const help = remedy(row.reason);
    const unmeasured = row.runnable && !help;
    return { ok: unmeasured ? null : false, said: `${said} ${sentence(row.message)}`, todo: unmeasured ? MEASURE : help || ELSEWHERE };
  },
  estimate(found) {
    if (!found.runnable) return { ok: false, said: `${on(found)}: ${found.reason}.`, todo: ELSEWHERE };
    if (found.estimated_warm_request_ms === null) return { ok: null, said: `${on(found)}: no estimate yet; ${found.message}.` };
    const warm = `warm ${ms(found.estimated_warm_request_ms)}, ${usd(found.estimated_warm_request_cost_usd)}`;
    const cold = `first, cold ${ms(found.estimated_cold_request_ms)}, ${usd(found.estimated_cold_request_cost_usd)}`;
    return { ok: true, said: `${on(found)}: ${warm}; ${cold}; confidence ${found.confidence}, n = ${found.samples.model_ms}.` };
  },
  runtime(found) {
    if (!found.endpoints.length) return { ok: true, said: sentence(`${found.phase.toLowerCase()}: ${found.message}`) };
    const said = `${found.endpoints.map((one) => `${on(one)} is ${one.phase.toLowerCase()}`).join("; ")}.`;
    const failed = found.endpoints.find((one) => one.phase === "FAILED");
    if (found.phase === "FAILED" && failed) return { ok: false, said: `${said} ${sentence(failed.message)}`, todo: remedy(failed.reason) };
    return { ok: true, said };
  },
};

// What is done, and when, for this target.
function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT)) ?? {};
  } catch {
    return {}; // storage is switched off: it lasts as long as this page then
  }
}

const done = kept();

function tick(name, ok) {
  if (ok) done[name] = Date.now();
  else delete done[name];
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(done));
  } catch {
    // likewise
  }
  drawDone();
}

function drawDone() {
  let number = 0;
  path.querySelectorAll("[data-step]").forEach((step, i) => {
    const is = Boolean(done[step.dataset.step]) && step.querySelector("[data-result]")?.dataset.ok !== "no";
    number += is;
    step.dataset.done = is ? "yes" : "";
    step.querySelector(".step-number").textContent = is ? "✓" : String(i + 1);
  });
  document.getElementById("path-done").textContent = number ? `${number} of ${TOTAL} done for this target` : "";
}

function tell(step, { ok = null, said, todo = "", word, link }) {
  const place = step.querySelector("[data-result]");
  place.dataset.ok = ok === null ? "" : ok ? "yes" : "no";
  place.querySelector(".verdict").textContent = word ?? (ok === null ? "Not yet" : ok ? "Ok" : "Not ok");
  write(place.querySelector("[data-said]"), said);
  const what = place.querySelector("[data-todo]");
  write(what, todo);
  what.hidden = !todo && !link;
  if (link) {
    const a = document.createElement("a");
    a.href = link.href;
    a.textContent = link.text;
    delete what.dataset.text;
    what.append(todo ? " " : "", a);
  }
}

const signIn = (said) => ({ ok: false, said, link: { href: path.dataset.signin, text: "Sign in, and come back here" } });

// An answer that is none of success, in words.
async function refused(answer) {
  const body = await answer.json().catch(() => null);
  const said = sentence(body?.error?.message ?? body?.message ?? body?.detail ?? `the server answered ${answer.status}`);
  if (answer.status === 401) return signIn("You are not signed in, or your session has ended.");
  const again = answer.headers.get("retry-after");
  if (answer.status === 403) return { ok: false, said, link: { href: "/account", text: "What your key may do" } };
  if (answer.status === 429 || answer.status >= 500) return { ok: false, said, todo: again ? `Try again in ${again} seconds.` : "Try again in a moment." };
  return { ok: false, said, todo: answer.status === 404 || answer.status === 409 ? ELSEWHERE : "" };
}

async function ask(step) {
  const headers = { Accept: "application/json" };
  const options = { headers, signal: AbortSignal.timeout(PATIENCE_MS) };
  if (step.dataset.body) {
    Object.assign(options, { method: "POST", body: step.dataset.body });
    Object.assign(headers, { "Content-Type": "application/json", Prefer: "respond-async", "X-CSRF-Token": path.dataset.csrf });
  }
  return fetch(step.dataset.path, options);
}

const busy = new Set();
let starting = null; // the target that is being prewarmed

async function run(step) {
  const name = step.dataset.step;
  if (busy.has(name)) return;
  if (!path.dataset.signedIn) {
    tell(step, signIn("You are not signed in."));
    tick(name, false);
    return;
  }
  busy.add(name);
  step.setAttribute("aria-busy", "true");
  tell(step, { word: name === "prewarm" ? "Starting" : "Asking", said: "…" });
  try {
    const answer = await ask(step);
    const verdict = answer.ok ? verdictOf(step, await answer.json()) : await refused(answer);
    if (verdict) tell(step, verdict);
    if (verdict?.ok !== undefined) tick(name, verdict.ok);
  } catch (error) {
    const late = error.name === "TimeoutError";
    tell(step, { ok: false, said: late ? "No answer within 30 seconds." : "The server cannot be reached.", todo: "What you chose stays. Try again in a moment." });
    tick(name, false);
  } finally {
    busy.delete(name);
    step.removeAttribute("aria-busy");
  }
}

function verdictOf(step, found) {
  const text = step.querySelector("[data-answer]");
  if (text) text.textContent = JSON.stringify(found, null, 2);
  if (step.dataset.step !== "prewarm") return VERDICTS[step.dataset.step](found);
  starting = found;
  if (found.phase !== "WARM") return { word: "Starting", said: `on ${on(found)}` };
  bar(step, null);
  const took = found.startup_ms ? `; the start took ${ms(found.startup_ms)}` : "";
  return { ok: true, said: `${on(found)} is warm${took}.` };
}

function bar(step, percent) {
  const progress = step.querySelector("progress");
  progress.dataset.idle = percent === null ? "yes" : "";
  if (percent !== null) progress.value = percent;
}

// How a start that was asked for here goes on, from the status that is told live.
export function follow(status) {
  const step = document.getElementById("step-prewarm");
  const mine = (one) => (starting ? one.gpu_type === starting.gpu_type && one.region === starting.region : step.dataset.going === on(one));
  const found = status.endpoints.find((one) => mine(one)) ?? (starting ? null : status.endpoints.find((one) => one.phase === "STARTING"));
  if (!found) {
    if (step.dataset.going && !starting) bar(step, null);
    return;
  }
  if (found.phase === "STARTING") {
    step.dataset.going = on(found);
    bar(step, share(found) ?? 0);
    tell(step, { word: "Starting", said: `on ${on(found)}: ${found.progress ? progressWords(found) : "it waits for its turn"}.` });
  } else if (found.phase === "WARM" && (starting || step.dataset.going)) {
    ended(step, { ok: true, said: `${on(found)} is warm; the start took ${ms(found.startup_ms)}.` });
  } else if (found.phase === "FAILED" && (starting || step.dataset.going)) {
    ended(step, { ok: false, said: sentence(found.message), todo: remedy(found.reason) });
  }
}

function ended(step, verdict) {
  starting = null;
  step.dataset.going = "";
  bar(step, null);
  tell(step, verdict);
  tick("prewarm", verdict.ok);
}

export function steps() {
  for (const act of path.querySelectorAll("[data-act]")) {
    const step = act.closest("[data-step]");
    if (act.tagName === "FORM") {
      act.addEventListener("submit", (event) => {
        event.preventDefault();
        run(step);
      });
    } else {
      act.addEventListener("click", () => tick(step.dataset.step, true));
    }
  }
  drawDone();
}
