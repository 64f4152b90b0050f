// The playground of one model: puts its parts together. What is typed is kept as it is typed; a run is sent, shown and remembered; a link can carry a request.

import { live } from "./live.js";
import { Form } from "./playground_form.js";
import { draftOf, keepAddress, keepDraft, keepRun } from "./playground_memory.js";
import { Other } from "./playground_other.js";
import { Past } from "./playground_past.js";
import { Progress } from "./playground_progress.js";
import { copy, rawRequest } from "./playground_raw.js";
import { bodyOf, problemsOf } from "./playground_request.js";
import { send } from "./playground_run.js";
import { blank, isEmpty, lighter, plural, sane, targetOf } from "./playground_state.js";

const KEEP_MS = 300;
const MOST_UNDO = 20;
const MOST_AT_ONCE = 50; // images
const LINK = "#try=";
const PHASES = ["held", "starting", "running"];

const byId = (id) => document.getElementById(id);
const section = document.querySelector("[data-playground]");
const about = JSON.parse(section.dataset.playground);
const progress = new Progress();
const before = []; // states that something took the place of
let sending = null; // AbortController of the run in work
let keeping = 0;

const form = new Form(about, { changed, say });
const other = new Other(about, () => changed("typed"));
const past = new Past(about, { restore, say });
let lists = null; // the dialog, once somebody wants it

// Parts that many a visit does not need come when they are asked for.
const part = (name) => import(`./playground_${name}.js`);
const away = () => say("A part of this page could not be loaded: the server is away for a moment. Try it again.", { wrong: true });

const read = () => ({ ...form.read(), other: other.read() });
const raw = rawRequest(about, read);

async function fill(state, how) {
  form.fill(state, how);
  if (state.other || !how?.first) await other.fill(state.other);
  changed("filled");
}

// --- what is said, and taken back

function say(words, { undo = false, wrong = false } = {}) {
  const line = document.createElement("p");
  line.className = wrong ? "error" : "small muted";
  line.textContent = words;
  if (undo && before.length) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "button play-small", textContent: "Undo" });
    button.id = "play-undo";
    button.addEventListener("click", async () => {
      await fill(before.pop());
      say("It is as it was before.");
      (byId("play-query") ?? byId("play-item-1")).focus();
    });
    line.append(" ", button);
  }
  byId("play-said").replaceChildren(line);
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

function keep() {
  clearTimeout(keeping);
  const words = keepDraft(about.slug, read());
  byId("play-kept").textContent = words;
  raw.draw();
  keepAddress(about, read());
  return words === "";
}

// --- filling in: samples, lists, files, images

for (const button of section.querySelectorAll("[data-play-sample]")) {
  button.addEventListener("click", async () => {
    const sample = about.samples[Number(button.dataset.playSample)];
    remember();
    const { version, target, deadline } = form.read();
    const items = sample.items.map((text) => ({ text }));
    await fill({ ...blank(), version, target, deadline, query: sample.query, items, ...sample.options, other: other.read() });
    say(`${sample.title}. ${sample.note}`, { undo: true });
  });
}

function take({ items, query, how }) {
  remember();
  if (query && byId("play-query")) byId("play-query").value = query;
  const found = items.map((text) => ({ text }));
  if (how === "replace") form.list.replaceChildren();
  const over = form.add(found);
  const thing = form.thing;
  say(`${plural(items.length - over, thing)} ${how === "add" ? "added" : "taken"}${over ? `; ${over.toLocaleString("en")} did not fit` : ""}.`, { undo: true });
}

async function takeImages(files) {
  const images = await part("images").catch(away);
  if (!images) return;
  const added = [];
  const wrong = [];
  if (files.length > MOST_AT_ONCE) wrong.push(`${plural(files.length, "image")} at one time are too many: the first ${MOST_AT_ONCE} are taken.`);
  for (const file of files.slice(0, MOST_AT_ONCE)) {
    try {
      added.push({ text: "", image: await images.readImage(file, about.limits.image_bytes) });
    } catch (error) {
      if (!(error instanceof images.ImageFault)) throw error;
      wrong.push(error.message);
    }
  }
  if (added.length) remember();
  const over = added.length ? form.add(added) : 0;
  if (over) wrong.push(`${plural(over, "image")} did not fit.`);
  if (wrong.length) say(wrong.slice(0, 5).join(" "), { wrong: true, undo: added.length > 0 });
  else say(`${plural(added.length, "image")} added.`, { undo: true });
}

async function openLists(file) {
  try {
    const { ListDialog } = await part("dialog");
    lists ??= new ListDialog(about, take);
  } catch {
    away();
    return;
  }
  if (file) lists.choose(file);
  else lists.open();
}

function takeFiles(files) {
  const images = files.filter((file) => file.type.startsWith("image/"));
  const texts = files.filter((file) => !file.type.startsWith("image/"));
  if (images.length && about.images) takeImages(images);
  else if (images.length) say(`${about.title} reads no images: “${images[0].name}” was not added. Choose a model that reads them.`, { wrong: true });
  if (texts.length) openLists(texts[0]);
  if (texts.length > 1) say(`One file at a time: “${texts[0].name}” is read, and the others are not.`, { wrong: true });
}

const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
const drop = byId("play-form");
drop.addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  drop.classList.add("is-over");
});
drop.addEventListener("dragleave", (event) => drop.contains(event.relatedTarget) || drop.classList.remove("is-over"));
drop.addEventListener("drop", (event) => {
  drop.classList.remove("is-over");
  if (!hasFiles(event)) return;
  event.preventDefault();
  takeFiles([...event.dataTransfer.files]);
});
drop.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (!files.length || event.clipboardData.getData("text/plain")) return;
  event.preventDefault();
  takeFiles(files);
});
byId("play-paste").addEventListener("click", () => openLists());
byId("play-images")?.addEventListener("click", () => byId("play-image-files").click());
byId("play-image-files")?.addEventListener("change", (event) => {
  takeImages([...event.target.files]);
  event.target.value = "";
});
byId("play-clear").addEventListener("click", async () => {
  remember();
  const { version, target, deadline } = form.read();
  await fill({ ...blank(), version, target, deadline });
  say("Cleared.", { undo: true });
  (byId("play-query") ?? byId("play-item-1")).focus();
});

async function restore(run) {
  remember();
  const state = sane(run.state);
  const same = run.slug === about.slug;
  await fill(same ? state : { ...state, version: "", target: "", other: null }, { pin: same });
  byId("play-form").scrollIntoView({ block: "start" });
  (byId("play-query") ?? byId("play-item-1")).focus({ preventScroll: true });
  say(run.left ? `It is here again, without ${plural(run.left, "image")} that ${run.left === 1 ? "was" : "were"} too large to be kept.` : "It is here again.", { undo: true });
}

// --- running

byId("play-form").addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
byId("play-form").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) start();
});
byId("play-cancel").addEventListener("click", () => sending?.abort());

async function start() {
  if (sending) return;
  const state = read();
  const problems = problemsOf(state, about);
  form.mark(problems);
  if (problems.length) {
    progress.say(problems[0].message);
    return;
  }
  const views = import("./playground_answer.js").catch(() => null); // comes while the request is under way
  sending = new AbortController();
  if (!about.signed_in) await renew(); // in another tab, it may be
  if (!about.signed_in) {
    sending = null;
    signIn();
    return;
  }
  byId("play-run").disabled = true;
  byId("play-cancel").hidden = false;
  keep();
  progress.begin();
  try {
    await show(state, await answered(state), await views);
  } finally {
    sending = null;
    byId("play-run").disabled = false;
    byId("play-cancel").hidden = true;
  }
}

// Away to sign in, if all of it is kept here; else in another tab.
function signIn() {
  if (keep()) {
    location.assign(about.sign_in);
    return;
  }
  progress.begin();
  progress.end("Not sent.");
  progress.fault({ status: 401, message: "You are not signed in, and what is in the form is too large to be kept in this browser" }, about, start);
}

async function answered(state) {
  const under = []; // the phases of those that are under way
  const tell = () => {
    const slowest = PHASES.map((name) => under.find((one) => one?.name === name)).find(Boolean);
    if (slowest) progress.see(slowest);
  };
  const one = (of, version, target, at) => ({
    model: { slug: of.slug, title: of.title, task: about.task },
    target: target ? { version, gpu_type: "", region: "", ...targetOf(target) } : null,
    body: bodyOf(state, of, { version, target }),
    deadlineS: Number(state.deadline),
    signal: sending.signal,
    version,
    onPhase(phase) {
      under[at] = { ...phase, who: state.other ? "AB"[at] : "" };
      tell();
    },
  });
  const asked = [one(about, state.version, state.target, 0)];
  if (state.other) asked.push(one({ ...state.other, task: about.task }, state.other.version, state.other.target, 1));
  return Promise.all(
    asked.map(async (each, at) => {
      const run = await sentByUs(each);
      under[at] = null; // the other one may still be under way
      tell();
      return run;
    }),
  );
}

// A session that was begun anew in another tab has another token: the page is asked for it once.
async function sentByUs(each) {
  const run = await send({ ...each, csrf: about.csrf });
  if (![401, 403].includes(run.error?.status) || sending.signal.aborted) return run;
  const had = about.csrf;
  await renew();
  return about.csrf && about.csrf !== had ? send({ ...each, csrf: about.csrf }) : run;
}

async function renew() {
  try {
    const page = await (await fetch(about.page, { signal: AbortSignal.timeout(8000), cache: "no-store" })).text();
    const found = JSON.parse(new DOMParser().parseFromString(page, "text/html").querySelector("[data-playground]").dataset.playground);
    if (found.signed_in) Object.assign(about, { csrf: found.csrf, signed_in: true });
  } catch {
    // away for a moment: what was answered stands
  }
}

async function show(state, runs, views) {
  const fault = runs.find((run) => run.error) ?? (views ? null : { error: { status: 0, kind: "network" } });
  const done = runs.every((run) => run.answer);
  progress.end(done ? `Answered in ${(Math.max(...runs.map((run) => run.elapsedMs)) / 1000).toFixed(2)} s.` : runs.some((run) => run.answer) ? "One of the two answered." : "There is no answer.", runs[0].phases);
  if (fault) progress.fault(fault.error, about, start);
  if (!views || !runs.some((run) => run.answer)) {
    reveal(); // the last answer stays: nothing has taken its place
    return;
  }
  if (runs.length > 1) views.showComparison(byId("play-answer"), runs);
  else views.showAnswer(byId("play-answer"), runs[0]);
  byId("play-answer-panel").classList.toggle("is-comparison", runs.length > 1);
  section.classList.toggle("is-comparing", runs.length > 1);
  if (!fault) keepRun({ slug: about.slug, title: about.title, task: about.task, state, outcome: `${Math.round(runs[0].elapsedMs).toLocaleString("en")} ms` });
  past.draw();
  reveal();
}

// On a phone the answer is below the form.
function reveal() {
  const { top } = byId("play-answer-panel").getBoundingClientRect();
  if (top < 0 || top > innerHeight * 0.8) byId("play-answer-title").focus();
}

// --- the request as a link

byId("play-link-copy").addEventListener("click", (event) => copy(event.target, byId("play-link").value, byId("play-link")));
byId("play-share").addEventListener("click", async () => {
  const share = await part("share").catch(away);
  if (!share) return;
  const { pack, MOST_LINK } = share;
  const { state, left } = lighter(read(), 0);
  const words = await pack(state);
  const query = new URLSearchParams();
  const pin = { version: state.version, ...(targetOf(state.target) ?? {}), with: state.other?.slug ?? "" };
  for (const [name, value] of Object.entries(pin)) if (value) query.set(name, value);
  const link = `${location.origin}${about.page}?${query}${LINK}${words}`;
  if (link.length > MOST_LINK) {
    byId("play-shared").hidden = true;
    say(`The link would have ${plural(link.length, "character")}, and more than ${MOST_LINK.toLocaleString("en")} get lost on the way. Shorten the texts, or copy the request as JSON.`, { wrong: true });
    return;
  }
  byId("play-shared").hidden = false;
  byId("play-link").value = link;
  byId("play-link").select();
  say(left ? `The link is below, without ${plural(left, "image")}: images do not fit into a link.` : "The link is below. It holds what is in the form: whoever has it can read it.");
});

async function fromLink() {
  if (!location.hash.startsWith(LINK)) return false;
  const words = location.hash.slice(LINK.length);
  const share = await part("share").catch(away);
  if (!share) return false;
  const { unpack, LinkFault } = share;
  history.replaceState(history.state, "", location.pathname + location.search); // a reload must not throw away what is typed from here on
  try {
    const state = sane(await unpack(words));
    if (!state) throw new LinkFault("The link to this page holds no request that can be read.");
    const draft = draftOf(about.slug);
    if (draft && !isEmpty(draft)) before.push(draft);
    await fill(state);
    say("Filled in from the link. Nothing was sent.", { undo: Boolean(draft) });
    return true;
  } catch (error) {
    if (!(error instanceof LinkFault)) throw error;
    say(error.message, { wrong: true });
    return false;
  }
}

// --- the beginning

async function begin() {
  addEventListener("pagehide", keep);
  addEventListener("beforeunload", (event) => keep() || event.preventDefault());
  addEventListener("hashchange", fromLink);
  live({ model: about.slug, version: form.read().version, onModel: (status) => progress.phase(status.phase) });
  if (await fromLink()) return;
  const draft = draftOf(about.slug);
  const asked = new URLSearchParams(location.search);
  const pinned = ["gpu_type", "region", "version", "model_version"].some((name) => asked.has(name));
  if (draft && !isEmpty(draft)) {
    // An address that names a target or a model to compare with goes before what was chosen last.
    const compared = byId("play-with").value ? { ...(draft.other?.slug === byId("play-with").value ? draft.other : { slug: byId("play-with").value, version: "", target: "" }) } : draft.other;
    await fill({ ...draft, other: compared }, { pin: !pinned });
  } else {
    form.number();
    await other.look();
  }
}

begin();
