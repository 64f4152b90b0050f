// The status of one model, live: its phase is asked for every few seconds while the page is looked at, and while anything runs the whole panel is fetched anew.
// Without this script the page says what was so when it was asked for.

const EVERY_MS = 3000;
const PATIENCE_MS = 8000;
const WHOLE_EVERY_MS = 15000;

let asking = false;
let drawnAt = performance.now();

async function fetched(address) {
  const answer = await fetch(address, { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!answer.ok) throw new Error(String(answer.status));
  return answer;
}

async function redraw() {
  const panel = document.getElementById("status");
  const page = await (await fetched(location.pathname + location.search)).text();
  const anew = new DOMParser().parseFromString(page, "text/html").getElementById("status");
  if (anew) panel.replaceWith(document.adoptNode(anew));
  drawnAt = performance.now();
}

async function ask() {
  const phase = document.querySelector("[data-live-phase]");
  if (asking || !phase || document.visibilityState !== "visible") return;
  asking = true;
  try {
    const { phases } = await (await fetched("/web/phases")).json();
    const now = phases[phase.dataset.livePhase] ?? "COLD";
    const due = now !== "COLD" && performance.now() - drawnAt > WHOLE_EVERY_MS;
    if (now !== phase.dataset.phase || now === "STARTING" || due) await redraw();
  } catch {
    // The server is away for a moment: what is shown stays, and is asked for again.
  } finally {
    asking = false;
  }
}

setInterval(ask, EVERY_MS);
document.addEventListener("visibilitychange", ask);
