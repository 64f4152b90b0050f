// What is in the form in, the request that it means, what is wrong with it and what a failed answer means out. Pure: knows no page.

import { LONGEST_TEXT, bytes, isFilled, plural, targetOf } from "./playground_state.js";

const SHOWN_URL = 60;

/** The native route's body. Rows that are empty are left out. `of` is the model that is asked, {slug, task}. */
export function bodyOf(state, of, { version = state.version, target = state.target } = {}) {
  const body = { model: of.slug, ...(of.task === "rank" ? ranking(state) : embeddings(state)) };
  if (version) body.model_version = version;
  return Object.assign(body, targetOf(target) ?? {});
}

function ranking(state) {
  const passages = state.items.filter(isFilled).map(({ text, image }) => (image ? { ...(text.trim() ? { text } : {}), image: image.url } : { text }));
  const body = { query: { text: state.query }, passages, truncate: state.truncate === "NONE" ? "NONE" : "END" };
  if (state.scale !== "logit") body.score_mode = state.scale;
  if (state.chunks) body.max_chunks_per_doc = Number(state.chunks);
  if (state.cut) body.max_tokens_per_doc = Number(state.cut);
  return body;
}

function embeddings(state) {
  const filled = state.items.filter(isFilled);
  const input = filled.map(({ text, image }) => (!image ? text : text.trim() ? `<img src="${image.url}"/>${text}` : image.url));
  const body = { input, input_type: state.inputType, truncate: state.truncate };
  if (filled.some((item) => item.image)) body.modality = filled.map(({ text, image }) => (!image ? "text" : text.trim() ? "text_image" : "image"));
  if (state.dimensions) body.dimensions = Number(state.dimensions);
  return body;
}

/** What would be refused, in the order of the form: [{field, item, message}]; `field` is query, items, item, inputType, cut or body. */
export function problemsOf(state, about) {
  const thing = about.task === "rank" ? "passage" : "input";
  const found = [];
  const filled = state.items.filter(isFilled);
  if (about.task === "rank" && !state.query.trim()) found.push({ field: "query", message: "The query is empty. Write what you look for." });
  if (state.query.length > LONGEST_TEXT) found.push({ field: "query", message: `The query has ${plural(state.query.length, "character")}. ${most(LONGEST_TEXT)}` });
  if (!filled.length) found.push({ field: "items", item: 0, message: `There is no ${thing} with anything in it. Write one, paste a list or load a sample.` });
  if (filled.length > about.limits.items) {
    const over = filled.length - about.limits.items;
    found.push({ field: "items", message: `There are ${filled.length.toLocaleString("en")} ${thing}s, and one request takes ${about.limits.items.toLocaleString("en")}. Remove ${over.toLocaleString("en")} or more.` });
  }
  state.items.forEach((item, i) => {
    if (item.text.length > LONGEST_TEXT) {
      found.push({ field: "item", item: i, message: `${capital(thing)} ${i + 1} has ${plural(item.text.length, "character")}. ${most(LONGEST_TEXT)}` });
    }
    if (item.image && !about.images) found.push({ field: "item", item: i, message: `${about.title} reads no images. Remove the image of ${thing} ${i + 1}, or choose a model that reads them.` });
  });
  if (about.task === "embed" && state.inputType === "query" && filled.some((item) => item.image)) {
    found.push({ field: "inputType", message: "A query is text, and there is an image among the inputs. Choose passage, or remove the images." });
  }
  if (!found.length) {
    const size = sizeOf(bodyOf(state, about));
    if (size > about.limits.body_bytes) found.push({ field: "body", message: `The request has ${bytes(size)}, and this server takes ${bytes(about.limits.body_bytes)}. Remove images or long texts.` });
  }
  return found;
}

const most = (n) => `At most ${n.toLocaleString("en")} fit here: shorten it, or send it by the API.`;
const capital = (word) => word[0].toUpperCase() + word.slice(1);
const sizeOf = (body) => new Blob([JSON.stringify(body)]).size;

/** JSON to read: images are named by their size, not written out. */
export function shownJson(body) {
  return JSON.stringify(
    body,
    (_, value) => (typeof value === "string" && value.length > 400 ? value.replace(/(data:image\/[\w.+-]+;base64,)([A-Za-z0-9+/=]{61,})/g, shortUrl) : value),
    2,
  );
}

const shortUrl = (_, head, data) => `${head}${data.slice(0, SHOWN_URL)}… (${data.length.toLocaleString("en")} characters)`;

/** A line for a terminal. The body stands in a here-document, so that nothing in it is the shell's. */
export function curlOf(about, body, timeoutS, json = JSON.stringify(body, null, 2)) {
  return [
    `FORGE_API_BASE=\${FORGE_API_BASE:-${quoted(about.base)}}`,
    'case "${FORGE_API_KEY:-}" in',
    "  \"\"|replace-with-your-forge-api-key) echo 'Set FORGE_API_KEY to a real Forge API key first.' >&2; exit 1 ;;",
    "esac",
    'base="${FORGE_API_BASE%/}"',
    `curl -sS --fail-with-body "\${base%/v1}"${quoted(about.route)} \\`,
    `  --max-time "\${FORGE_REQUEST_TIMEOUT_SECONDS:-${timeoutS}}" \\`,
    '  -H "Authorization: Bearer ${FORGE_API_KEY}" \\',
    "  -H 'Content-Type: application/json' \\",
    "  --data-binary @- <<'FORGE_JSON'",
    json,
    "FORGE_JSON",
    "",
  ].join("\n");
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/**
 * What happened and what to do: {title, message, todo, waitS, actions}; `waitS` is in how many seconds it may be tried again, or null; `actions` are of "again", "signin", "change".
 * `error` is a run's: status 0 when nothing was answered, `kind` "cancelled", "deadline", "network" or "unshown" then. What is between backquotes in `todo` is code.
 */
export function faultOf(error, about) {
  const said = error.message ? sentence(error.message) : "";
  const found = FAULTS[error.kind ?? error.status] ?? (error.status >= 500 ? FAULTS[500] : FAULTS[400]);
  const { title, todo, actions, waits } = found(error, about);
  const waitS = waits && error.retryAfterS ? Math.ceil(error.retryAfterS) : null;
  return { title, message: said, todo: waits && !waitS ? `${todo} Try again in a moment.`.trim() : todo, waitS, actions };
}

/** "Try again in 53 s." and what it is after that. */
export function waitWords(left) {
  if (left <= 0) return "It can be tried again now.";
  const [n, unit] = left < 120 ? [left, "second"] : left < 7200 ? [Math.ceil(left / 60), "minute"] : left < 172_800 ? [Math.ceil(left / 3600), "hour"] : [Math.ceil(left / 86_400), "day"];
  return `Try again in ${plural(n, unit)}.`;
}

// What to do about a reason that a message names, as the model's page has it.
function remedyOf(error, about) {
  const reason = Object.keys(about.remedies ?? {}).find((each) => new RegExp(`\\b${each}\\b`).test(error.message ?? ""));
  return reason ? about.remedies[reason] : "";
}

const FAULTS = {
  cancelled: () => ({ title: "Cancelled", todo: "The request was taken back and its place is free again.", actions: ["again"] }),
  deadline: () => ({ title: "It took longer than the deadline", todo: "Run again: a start goes on in the meantime. Or choose a longer deadline under Options.", actions: ["again"] }),
  network: () => ({
    title: "The server could not be reached",
    todo: "It was away, or went away while it answered, as during a restart. What you typed is still here: run again when it is back.",
    actions: ["again"],
  }),
  unreadable: () => ({ title: "The answer could not be read", todo: "Something between this browser and the server changed it. Run again.", actions: ["again"] }),
  unshown: () => ({
    title: "The answer could not be shown",
    todo: "It came, but the part of this page that shows it did not: the server went away. What you typed is still here: run again when it is back.",
    actions: ["again"],
  }),
  400: () => ({ title: "The request was refused", todo: "Change what it names and run again.", actions: ["change"] }),
  401: (_, about) => ({ title: about.signed_in === false ? "You are not signed in" : "You are not signed in any more", todo: "Sign in in a new tab, come back to this one and run again. Nothing here is lost.", actions: ["signin", "again"] }),
  403: (error) =>
    /scope|model/.test(error.message ?? "")
      ? { title: "Your key does not allow this", todo: "Sign in with a key that has the scope inference and may use this model.", actions: ["signin", "again"] }
      : { title: "The server did not take it as yours", todo: "Your sign-in has changed since this page was opened. Run again; if it stays so, sign in anew.", actions: ["again", "signin"] },
  404: () => ({ title: "It is not there", todo: "The model, version or target may have been renamed or taken away. Choose another one, or open the catalogue.", actions: ["change"] }),
  408: () => FAULTS.deadline(),
  409: () => ({ title: "It cannot run there", todo: "Choose another target, or any that is available.", actions: ["change", "again"] }),
  413: () => ({ title: "The request is too large", todo: "Remove passages or images, or make the images smaller.", actions: ["change"] }),
  429: (error) =>
    /budget/.test(error.message ?? "")
      ? { title: "The budget is used up", todo: "", actions: ["signin", "again"], waits: true }
      : { title: "Too much at one time", todo: "", actions: ["again"], waits: true },
  500: () => ({ title: "The server failed", todo: "", actions: ["again"], waits: true }),
  503: (error, about) => {
    const remedy = remedyOf(error, about);
    const elsewhere = / on .+ in /.test(error.message ?? "") ? "Another target may work at once." : "";
    return { title: "It could not be started or reached", todo: remedy || elsewhere, actions: ["again"], waits: !remedy };
  },
  504: () => FAULTS.deadline(),
};

function sentence(text) {
  const first = /^[a-z]+[:,;]?( |$)/.test(text) ? text[0].toUpperCase() : text[0]; // a name keeps its letters
  return first + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}
