// The playground of one model: puts its parts together. What is typed is kept as it is typed; a link can carry a request.

import { live } from "./live.js";
import { Filling } from "./playground_filling.js";
import { Form } from "./playground_form.js";
import { addressOf, comparedBy, draftOf, keepAddress, keepDraft, pins } from "./playground_memory.js";
import { Other } from "./playground_other.js";
import { part } from "./playground_parts.js";
import { Past } from "./playground_past.js";
import { Progress } from "./playground_progress.js";
import { copy, rawRequest } from "./playground_raw.js";
import { Runner } from "./playground_runner.js";
import { isEmpty, lighter, plural, sane } from "./playground_state.js";

const KEEP_MS = 300;
const MOST_UNDO = 20;
const LINK = "#try=";

const byId = (id) => document.getElementById(id);
const about = JSON.parse(byId("playground").dataset.playground);
const progress = new Progress();
const before = []; // states that something took the place of
let keeping = 0; // the timer of what is not kept yet
let unkept = ""; // why not all of it was kept

const form = new Form(about, { changed, say });
const other = new Other(about, () => changed("typed"));
const past = new Past(about, { restore, say });
const read = () => ({ ...form.read(), other: other.read() });
const raw = rawRequest(about, read);

async function fill(state, how) {
  form.fill(state, how);
  await other.fill(state.other);
  changed("filled");
}

new Filling(about, { form, other, remember, fill, say });
new Runner(about, { form, progress, read, keep: () => keep() === "", ran: () => past.draw() });

// --- what is said, and taken back

function say(words, { undo = false, redo = null, wrong = false } = {}) {
  const line = document.createElement("p");
  line.className = wrong ? "error" : "small muted";
  line.textContent = words;
  const button = (id, name, press) => {
    const made = Object.assign(document.createElement("button"), { id, type: "button", className: "button play-small", textContent: name });
    made.addEventListener("click", press);
    line.append(" ", made);
  };
  if (undo && before.length) button("play-undo", "Undo", takeBack);
  if (redo) button("play-redo", "Redo", () => bring(redo, "It is back."));
  byId("play-said").replaceChildren(line);
}

// What was typed since is not lost by taking back what was before it.
async function takeBack() {
  const now = read();
  await bring(before.pop(), "It is as it was before.", now);
}

async function bring(state, words, redo = null) {
  if (!redo) remember();
  await fill(state);
  say(words, { undo: true, redo });
  form.focus();
}

function remember() {
  const state = read();
  if (isEmpty(state)) return;
  before.push(state);
  if (before.length > MOST_UNDO) before.shift();
}

function changed(how) {
  if (how === "before") {
    remember();
    return;
  }
  if (how === "typed" && byId("play-said").querySelector(".error")) byId("play-said").replaceChildren();
  byId("play-shared").hidden = true; // the link is of what was there before
  clearTimeout(keeping);
  keeping = setTimeout(keep, KEEP_MS);
}

/** "" when all of it was kept, else why not. */
function keep() {
  clearTimeout(keeping);
  keeping = 0;
  keepAddress(about, read());
  unkept = keepDraft(about, read());
  byId("play-kept").textContent = unkept;
  raw.draw();
  return unkept;
}

async function restore(run) {
  remember();
  const state = sane(run.state);
  const same = run.slug === about.slug;
  await fill(same ? state : { ...state, version: "", target: "", other: null }, { pin: same });
  byId("play-form").scrollIntoView({ block: "start" });
  form.focus({ preventScroll: true });
  say(run.left ? `It is here again, without ${plural(run.left, "image")} that ${run.left === 1 ? "was" : "were"} too large to be kept.` : "It is here again.", { undo: true });
}

// --- the request as a link

byId("play-link-copy").addEventListener("click", (event) => copy(event.target, byId("play-link").value, byId("play-link")));
byId("play-share").addEventListener("click", async () => {
  const share = await part("playground_share.js").catch(away);
  if (!share) return;
  const { state, left } = lighter(read(), 0);
  const address = addressOf(about, state, new URL(about.page, location.origin));
  const link = `${address.href}${LINK}${await share.pack(state)}`;
  if (link.length > share.MOST_LINK) {
    byId("play-shared").hidden = true;
    say(`The link would have ${plural(link.length, "character")}, and more than ${share.MOST_LINK.toLocaleString("en")} get lost on the way. Shorten the texts, or copy the request as JSON.`, { wrong: true });
    return;
  }
  byId("play-shared").hidden = false;
  byId("play-link").value = link;
  byId("play-link").select();
  say(left ? `The link is below, without ${plural(left, "image")}: images do not fit into a link.` : "The link is below. It holds what is in the form: whoever has it can read it.");
});

function away() {
  say("A part of this page could not be loaded: the server is away for a moment. Try it again.", { wrong: true });
}

async function fromLink() {
  if (!location.hash.startsWith(LINK)) return false;
  const words = location.hash.slice(LINK.length);
  const share = await part("playground_share.js").catch(away);
  if (!share) return false; // the hash stays: a reload tries it again
  history.replaceState(history.state, "", location.pathname + location.search); // a reload must not throw away what is typed from here on
  try {
    const state = sane(await share.unpack(words));
    if (!state) throw new share.LinkFault("The link to this page holds no request that can be read.");
    const draft = draftOf(about.slug)?.state;
    if (draft && !isEmpty(draft)) before.push(draft);
    await fill(state);
    say("Filled in from the link. Nothing was sent.", { undo: Boolean(draft) });
    return true;
  } catch (error) {
    if (!(error instanceof share.LinkFault)) throw error;
    say(error.message, { wrong: true });
    return false;
  }
}

// --- the beginning

// The phase is that of the version which is chosen. On a model's page it comes by the page's own stream: who asks for the same shares one.
let followed = null;
function follow() {
  followed?.stop();
  followed = live({ model: about.slug, version: byId("play-version").value, onModel: (status) => progress.phase(status.phase) });
}

async function begin() {
  addEventListener("pagehide", () => keeping && keep()); // of two tabs the one in which something was typed last counts
  addEventListener("beforeunload", (event) => (keeping ? keep() : unkept) && event.preventDefault());
  addEventListener("hashchange", fromLink);
  byId("play-version").addEventListener("change", follow);
  follow();
  await startingPoint();
  raw.draw();
  byId("playground").dataset.ready = ""; // for whoever waits for it
  // What shows an answer is here before the first answer is.
  const view = about.task === "rank" ? "answer_ranking.js" : "answer_vectors.js";
  const idle = window.requestIdleCallback ?? setTimeout;
  idle(() => Promise.allSettled(["playground_answer.js", view].map(part)));
}

async function startingPoint() {
  const typed = form.isTouched(); // while this script was on its way
  if (await fromLink()) return;
  const draft = draftOf(about.slug);
  const had = draft !== null && !isEmpty(draft.state);
  if (had && !typed) {
    // What the address chooses goes before what was chosen last, unless that was chosen at the same address.
    const same = draft.under === pins(about);
    await fill(same ? draft.state : { ...draft.state, other: comparedBy(location) }, { pin: same });
    if (draft.left) say(`What you had here is here again, without ${plural(draft.left, "image")} that ${draft.left === 1 ? "was" : "were"} too large to be kept.`);
    return;
  }
  form.number();
  await other.fill(comparedBy(location));
  if (!typed) return;
  changed("typed");
  if (!had) return;
  before.push(draft.state);
  say("What was here last time can be brought back.", { undo: true });
}

/** Resolves when the form holds what it begins with. */
export const ready = begin();
