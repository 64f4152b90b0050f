// Target tables: what is behind a status on hover, focus and touch; and every row's speed in percent of the row under the pointer or with the focus.
// Without this script a status opens by a click, and the links "make baseline" do the same for good.

const NEAR_MS = 120; // a pointer that goes from a status to its details passes a gap

// Halves to even, as the server rounds.
function rounded(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}

function relative(row, root) {
  if (!row.dataset.basis || row.dataset.basis !== root.dataset.basis) return null;
  const byRate = row.dataset.rate !== "" && root.dataset.rate !== "";
  const ours = Number(byRate ? row.dataset.rate : root.dataset.ms);
  const theirs = Number(byRate ? root.dataset.rate : row.dataset.ms);
  if (!ours || !theirs) return null;
  const speed = rounded((ours / theirs) * 100);
  const change = speed - 100;
  return row === root ? `${speed}%` : `${speed}% · ${change < 0 ? change : `+${change}`}%`;
}

function rerooted(table) {
  const rows = [...table.tBodies[0].rows];
  const places = rows.map((row) => row.querySelector("[data-relative]"));
  const chosen = places.map((place) => place.textContent);
  const note = table.closest(".wide").nextElementSibling;
  const said = note?.hasAttribute("data-rooted-at") ? note.querySelector("b") : null;
  const base = said?.textContent;
  let pointed = null;
  let focused = null;

  const draw = () => {
    const root = pointed ?? focused;
    rows.forEach((row, i) => {
      row.classList.toggle("is-root", row === root);
      places[i].textContent = root ? (relative(row, root) ?? "—") : chosen[i];
    });
    if (said) said.textContent = root ? root.dataset.target.replace("/", " in ") : base;
  };
  const rootOf = (event) => {
    const row = event.target.closest("tr[data-target]");
    return row && (row.dataset.ms || row.dataset.rate) ? row : null;
  };
  table.addEventListener("pointerover", (event) => {
    if (event.pointerType === "touch") return;
    pointed = rootOf(event);
    draw();
  });
  table.addEventListener("pointerleave", () => {
    pointed = null;
    draw();
  });
  table.addEventListener("focusin", (event) => {
    focused = rootOf(event);
    draw();
  });
  table.addEventListener("focusout", () => {
    focused = null;
    draw();
  });
}

function detailed(button) {
  const details = document.getElementById(button.getAttribute("popovertarget"));
  if (!details?.showPopover) return;
  let timer = 0;
  let pinned = false;
  const open = () => {
    clearTimeout(timer);
    if (details.matches(":popover-open")) return;
    details.showPopover();
    place();
  };
  const place = () => {
    const at = button.getBoundingClientRect();
    const size = details.getBoundingClientRect();
    const below = at.bottom + 6 + size.height <= innerHeight || at.top < size.height + 6;
    details.style.inset = "auto";
    details.style.margin = "0";
    details.style.left = `${Math.max(8, Math.min(at.left, innerWidth - size.width - 8))}px`;
    details.style.top = `${Math.max(8, below ? Math.min(at.bottom + 6, innerHeight - size.height - 8) : at.top - size.height - 6)}px`;
  };
  const close = () => {
    clearTimeout(timer);
    pinned = false;
    if (details.matches(":popover-open")) details.hidePopover();
  };
  const soon = () => {
    clearTimeout(timer);
    if (!pinned) timer = setTimeout(close, NEAR_MS);
  };
  for (const place of [button, details]) {
    place.addEventListener("pointerenter", (event) => event.pointerType !== "touch" && open());
    place.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && soon());
  }
  button.addEventListener("focus", () => button.matches(":focus-visible") && open());
  button.addEventListener("blur", () => !pinned && close());
  // A click keeps them open, or closes what it kept open; the browser's own toggling would close what the pointer has just opened.
  button.addEventListener("click", (event) => {
    event.preventDefault();
    if (pinned) close();
    else {
      open();
      pinned = true;
    }
  });
  details.addEventListener("toggle", (event) => {
    if (event.newState === "closed") pinned = false;
  });
  // What stands on top of the page does not scroll with it by itself.
  const moved = (event) => {
    if (!details.matches(":popover-open") || (event.target instanceof Node && details.contains(event.target))) return;
    const at = button.getBoundingClientRect();
    if (at.bottom < 0 || at.top > innerHeight) close();
    else place();
  };
  addEventListener("scroll", moved, { passive: true, capture: true });
  addEventListener("resize", moved, { passive: true });
}

export function targets() {
  for (const table of document.querySelectorAll("table[data-rooted]")) rerooted(table);
  for (const button of document.querySelectorAll("button.more[popovertarget]")) detailed(button);
}
