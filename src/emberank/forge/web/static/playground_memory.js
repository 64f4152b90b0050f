// Drafts, past runs and choices in, the browser's storage and address out; bounded, and of this browser only. Knows no page. Where storage is switched off nothing is kept, and it says so.

import { lighter, sane, summary, targetOf } from "./playground_state.js";

const DRAFTS = "emberank.playground.drafts";
const HISTORY = "emberank.playground.history";
const MOST_DRAFTS = 10;
const MOST_RUNS = 40;
const MOST_CHARACTERS = 1_800_000; // of each of the two: browsers give a site about five million
const MOST_IMAGE = 60_000; // characters of an image in a past run; a draft's may be larger
const MOST_DRAFT_IMAGE = 900_000;
const PINS = ["version", "gpu_type", "region", "with", "with_version", "with_gpu_type", "with_region"]; // of an address

function read(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(name)) ?? otherwise;
  } catch {
    return otherwise; // switched off, or not ours
  }
}

function write(name, value) {
  try {
    localStorage.setItem(name, JSON.stringify(value));
    return true;
  } catch {
    return false; // switched off, or full
  }
}

const drafts = () => {
  const found = read(DRAFTS, {});
  return found && typeof found === "object" && !Array.isArray(found) ? found : {};
};

/** What the address chooses: version, target, and what is compared with; to be compared. */
export function pins(about) {
  const asked = new URLSearchParams(location.search);
  const version = asked.get("model_version") || asked.get("version");
  return JSON.stringify([version === about.versions[0].name ? "" : version, ...PINS.slice(1).map((name) => asked.get(name))].map((value) => value ?? ""));
}

/** {slug, version, target} of what an address says that is compared with; null for nothing. */
export function comparedBy({ search }) {
  const asked = new URLSearchParams(search);
  const [slug, version, gpu, region] = PINS.slice(3).map((name) => asked.get(name) ?? "");
  return slug ? { slug, version, target: gpu ? `${gpu}/${region}` : "" } : null;
}

/** Keep what is in the form; "" when all of it was kept, else a sentence. */
export function keepDraft(about, state) {
  let { state: light, left } = lighter(state, MOST_DRAFT_IMAGE);
  const isLong = () => JSON.stringify(light).length > MOST_CHARACTERS - 1000;
  if (isLong()) ({ state: light, left } = lighter(state, 0)); // texts before images
  if (isLong()) return "It is too long to be kept in this browser: leaving the page loses it.";
  const one = { at: Date.now(), under: pins(about), left, state: light };
  let kept = Object.entries({ ...drafts(), [about.slug]: one }).sort(([, a], [, b]) => (b.at ?? 0) - (a.at ?? 0)).slice(0, MOST_DRAFTS);
  while (kept.length > 1 && JSON.stringify(kept).length > MOST_CHARACTERS) kept = kept.slice(0, -1);
  if (!write(DRAFTS, Object.fromEntries(kept))) return "This browser does not let the page keep it: leaving the page loses it.";
  return left ? "Not all images are kept in this browser: leaving the page loses them." : "";
}

/** {state, under, left}: what was in the form of that model last, the pins() that it was under, and how many images were too large; null for nothing. */
export function draftOf(slug) {
  const { state, under, left } = drafts()[slug] ?? {};
  const found = sane(state);
  return found && { state: found, under, left: Number.isInteger(left) ? left : 0 };
}

/** Past runs, the newest first: [{id, at, slug, title, task, state, words, outcome, left}]. */
export function pastRuns(task) {
  const found = read(HISTORY, []);
  if (!Array.isArray(found)) return [];
  return found.filter((one) => one && one.task === task && typeof one.id === "string" && sane(one.state));
}

/** Keep a run; false when it could not be. The oldest go when there are too many or they are too long. */
export function keepRun({ slug, title, task, state, outcome }) {
  const { state: light, left } = lighter(state, MOST_IMAGE);
  const one = { id: `${Date.now()}-${Math.random().toString(36).slice(2, 8)}`, at: Date.now(), slug, title, task, state: light, words: summary(state), outcome, left };
  const before = read(HISTORY, []);
  const same = JSON.stringify({ slug, light });
  let runs = [one, ...(Array.isArray(before) ? before : []).filter((old) => old && JSON.stringify({ slug: old.slug, light: old.state }) !== same)].slice(0, MOST_RUNS);
  while (runs.length && JSON.stringify(runs).length > MOST_CHARACTERS) runs = runs.slice(0, -1);
  return runs.length > 0 && write(HISTORY, runs);
}

export function dropRun(id) {
  const found = read(HISTORY, []);
  write(HISTORY, Array.isArray(found) ? found.filter((one) => one?.id !== id) : []);
}

/** All runs of all models. */
export const clearRuns = () => write(HISTORY, []);

/** An address with what is chosen in it. */
export function addressOf(about, state, from) {
  const address = new URL(from);
  const mine = targetOf(state.target);
  const other = state.other && targetOf(state.other.target);
  const said = [
    state.version === about.versions[0].name ? "" : state.version,
    ...[mine?.gpu_type, mine?.region],
    ...[state.other?.slug, state.other?.version, other?.gpu_type, other?.region],
  ];
  address.searchParams.delete("model_version");
  PINS.forEach((name, i) => (said[i] ? address.searchParams.set(name, said[i]) : address.searchParams.delete(name)));
  return address;
}

/** On the page of its own the address says what is chosen, so that it can be sent on and comes back after a reload. */
export function keepAddress(about, state) {
  if (location.pathname !== about.page) return;
  const { href } = addressOf(about, state, location.href);
  if (href !== location.href) history.replaceState(history.state, "", href);
}
