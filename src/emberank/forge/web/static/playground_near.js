// The playground's place on a page in, its script there in time out: when the place comes near, or somebody touches it. What is pressed or dropped before that is done again then.

import { part } from "./playground_parts.js";

const NEAR = 600; // pixels
const AGAIN_MS = 5000;
const LONG = 200_000; // characters

const section = document.getElementById("playground");
const early = new AbortController();
let loading = null;
let wanted = null; // what somebody did while the script was on its way

function come() {
  loading ??= part("playground.js").then(arrived, missed);
}

async function arrived({ ready }) {
  early.abort();
  watcher.disconnect();
  await ready;
  wanted?.();
}

function missed() {
  loading = null;
  if (wanted) tell("The server is away for a moment. It goes on when it is back.");
  setTimeout(come, AGAIN_MS);
}

function tell(words) {
  const line = document.createElement("p");
  line.className = "error";
  line.textContent = words;
  document.getElementById("play-said").replaceChildren(line);
}

document.getElementById("play-run").removeAttribute("aria-disabled"); // from here on no press is lost
const watcher = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && come(), { rootMargin: `${NEAR}px` });
watcher.observe(section);
if (section.getBoundingClientRect().top < innerHeight + NEAR) come();
for (const name of ["focusin", "pointerover"]) section.addEventListener(name, come, { signal: early.signal });
section.addEventListener(
  "click",
  (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    event.preventDefault();
    wanted = () => button.click();
    come();
  },
  { signal: early.signal, capture: true },
);
// A browser leaves the page for a file that nobody takes.
for (const name of ["dragover", "drop"]) {
  section.addEventListener(
    name,
    (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      const [place, files] = [event.target, [...event.dataTransfer.files]];
      if (name === "drop") wanted = () => dropped(place, files);
      come();
    },
    { signal: early.signal },
  );
}

// A text field with millions of characters stands still, and pictures are nothing to a text field.
section.addEventListener(
  "paste",
  (event) => {
    const { files } = event.clipboardData;
    if (!files.length && event.clipboardData.getData("text/plain").length <= LONG) return;
    event.preventDefault();
    tell("This page was not ready for that yet. Paste it once more.");
    come();
  },
  { signal: early.signal },
);

function dropped(place, files) {
  const data = new DataTransfer();
  for (const file of files) data.items.add(file);
  place.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}
