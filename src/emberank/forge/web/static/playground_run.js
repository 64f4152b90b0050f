// One request in, its answer out, with the phases that it went through: held, starting, running. Knows no form and no view.

import { live } from "./live.js";

const GRACE_MS = 5000; // the server's own deadline comes first and says more
const UNKNOWN_MS = 80; // what a page has heard of the model before is known at once

/**
 * Send it: {model: {slug, title, task}, target, body, csrf, deadlineS, signal, version, onPhase}. Answers a run as playground_answer.js shows it.
 * `onPhase({name, endpoint})` is called as soon as something is known, and whenever it changed; `name` is empty while nothing is known,
 * `endpoint` what the server says of the target that is being started, or null.
 */
export async function send({ model, target, body, csrf, deadlineS, signal, version, onPhase }) {
  const began = performance.now();
  const track = phaseTrack(began, onPhase);
  const watched = live({ model: model.slug, version: version || undefined, onModel: (status) => track.see(status, target) });
  const timeout = AbortSignal.timeout(deadlineS * 1000 + GRACE_MS);
  const run = { id: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`, model, target, body, status: 0, headers: {}, answer: null, error: null, elapsedMs: 0, phases: [] };
  try {
    const answer = await fetch(`/web/api/v1/inference/${encodeURIComponent(model.slug)}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json", "X-Request-Timeout": String(deadlineS), ...(csrf ? { "X-CSRF-Token": csrf } : {}) },
      body: JSON.stringify(body),
      signal: AbortSignal.any ? AbortSignal.any([signal, timeout]) : signal,
      redirect: "error",
      cache: "no-store",
    });
    run.status = answer.status;
    run.headers = Object.fromEntries([...answer.headers].map(([name, value]) => [name.toLowerCase(), value]));
    const text = await answer.text();
    read(run, text, answer.ok);
  } catch (error) {
    const kind = signal.aborted ? "cancelled" : timeout.aborted || error.name === "TimeoutError" ? "deadline" : "network";
    run.error = { status: run.status, kind, message: "", retryAfterS: null };
    run.answer = null;
  } finally {
    watched.stop();
  }
  run.elapsedMs = performance.now() - began;
  run.phases = track.end(run);
  return run;
}

function read(run, text, ok) {
  let content = null;
  try {
    content = JSON.parse(text);
  } catch {
    // said below
  }
  if (ok && content) {
    run.answer = content;
    return;
  }
  const retry = Number(run.headers["retry-after"]);
  const said = content && typeof content === "object" ? [content.message, content.detail, content.error].find((one) => typeof one === "string" && one) : "";
  run.error = { status: run.status, message: (said ?? "").slice(0, 2000), retryAfterS: Number.isFinite(retry) && retry > 0 ? retry : null };
  if (ok) run.error.kind = "unreadable";
}

// A request of whose model nothing was heard until its end counts as running.
function phaseTrack(began, onPhase) {
  const phases = [{ name: "running", from: began }];
  let known = false;
  const unknown = setTimeout(() => onPhase({ name: "", endpoint: null }), UNKNOWN_MS);

  function enter(name, endpoint) {
    const last = phases.at(-1);
    if (!known) last.name = name; // from its beginning
    else if (last.name !== name) phases.push({ name, from: performance.now() });
    known = true;
    clearTimeout(unknown);
    onPhase({ name, endpoint });
  }

  return {
    see(status, target) {
      const mine = (status.endpoints ?? []).filter((one) => !target || (one.gpu_type === target.gpu_type && (!target.region || one.region === target.region)));
      const of = (phase) => mine.find((one) => one.phase === phase);
      if (of("WARM")) enter("running", of("WARM"));
      else if (of("STARTING")) enter("starting", of("STARTING"));
      else enter("held", of("FAILED") ?? of("DRAINING") ?? null);
    },
    end(run) {
      clearTimeout(unknown);
      const ended = began + run.elapsedMs;
      if (run.status >= 400 && run.status < 500) return []; // refused before it came to a model
      // Warm all the time, whatever a late word about the model said.
      if (run.answer && Number(run.headers["x-emberank-cold-start-ms"] ?? 0) === 0) return [{ name: "running", ms: run.elapsedMs }];
      return phases.map((one, i) => ({ name: one.name, ms: (phases[i + 1]?.from ?? ended) - one.from }));
    },
  };
}
