// The documentation, live: results come while one types, and the part that is being read is marked in the contents.
// Without this script the field has its button, and the contents are links.

const WAIT_MS = 150;
const PATIENCE_MS = 8000;
const FROM = "/docs/search";

const form = document.getElementById("docs-search");
const field = document.getElementById("docs-q");
const found = document.getElementById("docs-found");
const searching = location.pathname === FROM; // this page is the results

let timer = 0;
let running = null;
let shown = field.value.trim();

async function look() {
  const query = field.value.trim();
  if (query === shown) return;
  running?.abort();
  if (!query && !searching) {
    shown = query;
    found.hidden = true;
    found.replaceChildren();
    return;
  }
  const mine = (running = new AbortController());
  const address = `${FROM}?${new URLSearchParams({ q: query })}`;
  try {
    const answer = await fetch(address, { signal: AbortSignal.any([mine.signal, AbortSignal.timeout(PATIENCE_MS)]) });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("docs-found");
    if (!page || mine.signal.aborted) return;
    if (!searching) page.querySelector("h1")?.remove(); // this page has its own
    found.replaceChildren(...[...page.childNodes].map((node) => document.adoptNode(node)));
    found.hidden = false;
    shown = query;
    if (searching) history.replaceState(null, "", address);
  } catch {
    // Another word has been typed, or the server is away for a moment: the button still asks.
  }
}

field.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(look, WAIT_MS);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !event.target.closest("input, textarea, select, [contenteditable]")) {
    event.preventDefault();
    field.focus();
    field.select();
  } else if (event.key === "Escape" && form.contains(event.target) && !searching) {
    field.value = "";
    look();
  }
});

const links = new Map([...document.querySelectorAll(".docs-contents.docs-side a")].map((link) => [decodeURIComponent(link.hash.slice(1)), link]));
const headings = [...links.keys()].map((id) => document.getElementById(id)).filter(Boolean);

// The last heading above the upper third of the window is the one that is being read.
function mark() {
  const current = headings.findLast((heading) => heading.getBoundingClientRect().top < innerHeight / 3);
  for (const [id, link] of links) {
    if (id === current?.id) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

if (headings.length) {
  let due = false;
  document.addEventListener("scroll", () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      mark();
    });
  }, { passive: true });
  mark();
}

// Where a list of pages is longer than its box, the page that one is on comes into sight.
for (const list of document.querySelectorAll(".docs-nav.docs-side")) {
  const here = list.querySelector("[aria-current]");
  if (here) list.scrollTop = here.offsetTop - list.offsetTop - list.clientHeight / 2;
}
