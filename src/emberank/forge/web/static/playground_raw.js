// What is in the form in, the request as JSON and as a command out, to look at and to copy. Sends nothing.

import { bodyOf, curlOf, shownJson } from "./playground_request.js";

const SHOWN = 30_000; // characters that are laid out
const SHOWN_MS = 1600;
const byId = (id) => document.getElementById(id);

/** Draws when it is opened; `draw` draws again. `read` gives the form's state. */
export function rawRequest(about, read) {
  const deadline = () => byId("play-deadline").value;

  function draw() {
    if (!byId("play-raw").open) return;
    const body = bodyOf(read(), about);
    byId("play-json").textContent = cut(shownJson(body));
    byId("play-curl").textContent = cut(curlOf(about, body, deadline(), shownJson(body)));
  }

  byId("play-raw").addEventListener("toggle", draw);
  byId("play-json-copy").addEventListener("click", (event) => copy(event.target, JSON.stringify(bodyOf(read(), about), null, 2), byId("play-json")));
  byId("play-curl-copy").addEventListener("click", (event) => copy(event.target, curlOf(about, bodyOf(read(), about), deadline()), byId("play-curl")));
  return { draw };
}

const cut = (text) => (text.length > SHOWN ? `${text.slice(0, SHOWN)}\n… ${(text.length - SHOWN).toLocaleString("en")} more characters; Copy copies all of it.` : text);

/** Copy a text; where there is no clipboard (plain http) what is shown is selected: one key press copies it then. */
export async function copy(button, text, shown) {
  const name = button.dataset.name ?? (button.dataset.name = button.textContent);
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    if (shown.select) shown.select();
    else getSelection().selectAllChildren(shown);
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = name), SHOWN_MS);
}
