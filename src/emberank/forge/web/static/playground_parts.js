// A module's name in, the module out, also after the server was away for a moment. Knows no page.
// A browser does not ask again for a module that it could not get once, nor for one that imports it. So everything that a module needs is fetched as plain files
// first, which may fail as often as it likes; it is imported once all of that is in the browser's cache.

const PATIENCE_MS = 60_000;
const ANSWER = ["answer_details.js", "answer_orders.js", "answer_parts.js"];
const VECTORS = ["answer_map.js", "answer_orders.js", "answer_parts.js", "answer_projection.js"];

/** What each of them imports, and what that imports. */
export const NEEDS = {
  "playground.js": [
    "live.js",
    "playground_filling.js",
    "playground_form.js",
    "playground_memory.js",
    "playground_other.js",
    "playground_parts.js",
    "playground_past.js",
    "playground_progress.js",
    "playground_raw.js",
    "playground_request.js",
    "playground_run.js",
    "playground_runner.js",
    "playground_state.js",
  ],
  "playground_answer.js": [...ANSWER, "playground_parts.js"],
  "playground_dialog.js": ["playground_lists.js", "playground_state.js"],
  "playground_images.js": ["playground_state.js"],
  "playground_share.js": [],
  "answer_ranking.js": ["answer_orders.js", "answer_parts.js"],
  "answer_vectors.js": VECTORS,
  "answer_difference.js": ["answer_details.js", "answer_vectors.js", ...VECTORS],
};

const version = new URL(import.meta.url).search;
const address = (name) => new URL(name + version, import.meta.url).href;
const files = new Map(); // by name: what is fetched or being fetched
const modules = new Map();

/** A module, fetched once. Rejects while the server is away, and may be asked for again. */
export const part = (name) => kept(modules, name, load);

async function load(name) {
  await Promise.all([name, ...NEEDS[name]].map((each) => kept(files, each, fetched)));
  return import(address(name));
}

async function fetched(name) {
  const reply = await fetch(address(name), { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!reply.ok) throw new Error(`${name}: ${reply.status}`);
  await reply.arrayBuffer();
}

function kept(found, name, make) {
  if (!found.has(name)) {
    const made = make(name);
    found.set(name, made);
    made.catch(() => found.delete(name));
  }
  return found.get(name);
}
