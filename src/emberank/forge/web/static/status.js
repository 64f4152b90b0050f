// The status page, live: when a phase changes, and otherwise every few seconds while the page is looked at, it is asked for anew, and what changed is put in
// its place. Times count on in between. Without this script the page says what was so when it was asked for.
import { live } from "./live.js";

const SLOWLY_MS = 10000;
const NOT_SOONER_MS = 1000; // a start is a dozen of changes
const PATIENCE_MS = 8000;

let drawnAt = performance.now();
let asking = false;
let due = 0;

function shown(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes}m ${whole % 60}s` : `${Math.floor(minutes / 60)}h ${minutes % 60}m`;
}

function count() {
  const passed = (performance.now() - drawnAt) / 1000;
  for (const one of document.querySelectorAll("[data-count-up]")) one.textContent = shown(Number(one.dataset.countUp) + passed);
  for (const one of document.querySelectorAll("[data-count-down]")) one.textContent = shown(Math.max(0, Number(one.dataset.countDown) - passed));
}

function say(words) {
  const note = document.querySelector("[data-live-note]");
  if (note) note.textContent = words;
}

function place(page) {
  for (const part of document.querySelectorAll("[data-live-part]")) {
    const anew = page.getElementById(part.id);
    if (!anew) continue;
    const scrolled = [...part.querySelectorAll(".wide")].map((one) => one.scrollLeft);
    const held = part.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    part.replaceChildren(...[...anew.childNodes].map((node) => document.adoptNode(node)));
    part.querySelectorAll(".wide").forEach((one, place) => (one.scrollLeft = scrolled[place] ?? 0));
    // Whoever stands on a button by keyboard stays there.
    if (held) [...part.querySelectorAll("[aria-label]")].find((one) => one.getAttribute("aria-label") === held)?.focus({ preventScroll: true });
  }
  drawnAt = performance.now();
}

async function redraw() {
  if (asking || document.visibilityState !== "visible") return;
  asking = true;
  try {
    const address = new URL(location.href);
    address.searchParams.set("live", "1");
    const answer = await fetch(address, { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (document.getElementById("status-targets") && !page.getElementById("status-targets")) {
      say(". Your session has ended: this is how it was then. Load the page anew to sign in");
    } else {
      place(page);
    }
  } catch {
    say(". The server is away for a moment; it is asked again"); // what is shown stays
  } finally {
    asking = false;
  }
}

function soon() {
  clearTimeout(due);
  due = setTimeout(redraw, Math.max(0, NOT_SOONER_MS - (performance.now() - drawnAt)));
}

let first = true;
live({
  onPhases() {
    if (!first) soon(); // the first ones are what the page was drawn with
    first = false;
  },
});
setInterval(redraw, SLOWLY_MS);
setInterval(count, 1000);
const form = document.getElementById("status-filters");
for (const field of form.querySelectorAll("select")) field.addEventListener("change", () => form.requestSubmit());
// Fields that say nothing are left out, so that the address says only what was chosen.
form.addEventListener("submit", () => {
  const empty = [...form.elements].filter((field) => field.name && field.value === "");
  for (const field of empty) field.disabled = true;
  // Coming back by the browser's history, the fields must be usable again.
  setTimeout(() => empty.forEach((field) => (field.disabled = false)));
});
