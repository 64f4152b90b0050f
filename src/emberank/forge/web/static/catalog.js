// The catalogue, live: a filter that changes is applied at once, and phases change while the page is looked at.
// Without this script the form has its button, and the page says what was so when it was asked for.

import { live } from "./live.js";

const PHASES = new Set(["COLD", "STARTING", "WARM", "DRAINING", "FAILED"]);

const form = document.getElementById("filters");

// Fields that say nothing are left out, so that the address says only what was chosen.
form.addEventListener("submit", () => {
  const empty = [...form.elements].filter((field) => field.name && !field.disabled && field.value === "");
  for (const field of empty) field.disabled = true;
  // Coming back by the browser's history, the fields must be usable again.
  setTimeout(() => empty.forEach((field) => (field.disabled = false)));
});
// Some fields stand outside the form that they belong to. Words are searched for when they are sent, not when the field is left.
document.addEventListener("change", (event) => {
  if (event.target.form !== form || event.target.type === "search") return;
  remember(event.target.id);
  form.requestSubmit();
});
// What a browser kept in the fields is not what this page was asked for.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) form.reset();
});

// The page that answers goes on where this one was left: whoever chooses by keyboard is not thrown back to the top.
const PLACE = "emberank.catalog.place";

function remember(id) {
  try {
    sessionStorage.setItem(PLACE, JSON.stringify({ id, y: scrollY }));
  } catch {
    // storage is switched off: the page begins at its top then
  }
}

function goOn() {
  try {
    const place = JSON.parse(sessionStorage.getItem(PLACE));
    sessionStorage.removeItem(PLACE);
    if (!place) return;
    scrollTo(0, place.y);
    document.getElementById(place.id)?.focus({ preventScroll: true });
  } catch {
    // likewise
  }
}

goOn();

const shown = document.querySelectorAll("[data-slug]");

function draw(phases) {
  for (const row of shown) {
    const dot = row.querySelector(".phase");
    const phase = phases[row.dataset.slug] ?? "COLD"; // what is not in the answer is cold
    if (!PHASES.has(phase) || dot.dataset.phase === phase) continue;
    dot.dataset.phase = phase;
    dot.textContent = phase.toLowerCase();
  }
}

if (shown.length) live({ onPhases: draw });
