// What somebody has put into the playground, as a value; anything read from a link, a file or the browser's storage in, such a value or nothing out. Knows no page.

export const LONGEST_TEXT = 200_000; // characters of a query, a passage or an input
export const MOST_ITEMS = 1000; // rows of the form, whatever the server takes in one request
const IMAGE = /^data:image\/[a-z0-9.+-]{1,40};base64,[A-Za-z0-9+/]+={0,2}$/;
const MOST_IMAGE = 36_000_000; // characters of a data URL: 25 MiB in base64
const WORD = 200; // characters of a name: version, target, model

const text = (value, most = LONGEST_TEXT) => (typeof value === "string" ? value.slice(0, most) : "");
const count = (value, most) => (Number.isInteger(Number(value)) && Number(value) > 0 && Number(value) <= most ? String(Number(value)) : "");
const oneOf = (value, known, otherwise) => (known.includes(value) ? value : otherwise);

export const blank = () => ({
  query: "",
  items: [{ text: "" }],
  version: "",
  target: "", // "GPU/region"; empty: any that is available
  truncate: "END",
  scale: "logit",
  chunks: "", // pieces of a long passage; empty: it is not read in pieces
  cut: "", // tokens of a passage, or of a piece of it
  inputType: "passage",
  dimensions: "",
  deadline: "600",
  other: null, // {slug, version, target}: what it is compared with
});

function itemOf(found) {
  if (typeof found === "string") return { text: text(found) };
  if (!found || typeof found !== "object") return { text: "" };
  const item = { text: text(found.text) };
  const image = imageOf(found.image);
  return image ? { ...item, image } : item;
}

function imageOf(found) {
  if (!found || typeof found !== "object" || typeof found.url !== "string") return null;
  if (found.url.length > MOST_IMAGE || !IMAGE.test(found.url)) return null;
  const size = (value) => (Number.isInteger(value) && value > 0 ? value : 0);
  return { url: found.url, name: text(found.name, WORD), kind: text(found.kind, 20), bytes: size(found.bytes), width: size(found.width), height: size(found.height) };
}

/** A state made of anything: what does not fit is left out. Null for what is no object. */
export function sane(found) {
  if (!found || typeof found !== "object" || Array.isArray(found)) return null;
  const items = Array.isArray(found.items) ? found.items.slice(0, MOST_ITEMS).map(itemOf) : [];
  const other = found.other && typeof found.other === "object" ? found.other : null;
  return {
    query: text(found.query),
    items: items.length ? items : [{ text: "" }],
    version: text(found.version, WORD),
    target: text(found.target, WORD),
    truncate: oneOf(found.truncate, ["NONE", "START", "END"], "END"),
    scale: oneOf(found.scale, ["logit", "sigmoid", "calibrated"], "logit"),
    chunks: count(found.chunks, 1000),
    cut: count(found.cut, 1_000_000),
    inputType: oneOf(found.inputType, ["query", "passage"], "passage"),
    dimensions: count(found.dimensions, 1_000_000),
    deadline: oneOf(found.deadline, ["30", "120", "600"], "600"),
    other: other ? { slug: text(other.slug, WORD), version: text(other.version, WORD), target: text(other.target, WORD) } : null,
  };
}

/** The same without images over `most` characters, and how many were left out. */
export function lighter(state, most) {
  let left = 0;
  const items = state.items.map((item) => {
    if (!item.image || item.image.url.length <= most) return item;
    left += 1;
    return { text: item.text };
  });
  return { state: { ...state, items }, left };
}

export const isFilled = (item) => Boolean(item.image) || item.text.trim() !== "";
export const isEmpty = (state) => !state.query.trim() && !state.items.some(isFilled);

/** One line that says what a state is about. */
export function summary(state) {
  const filled = state.items.filter(isFilled);
  const first = state.query.trim() || filled.find((item) => item.text.trim())?.text.trim() || (filled.length ? "images" : "empty");
  return first.length > 90 ? `${first.slice(0, 90)}…` : first;
}

/** {gpu_type, region} of a target's name; null for any. */
export function targetOf(name) {
  const at = name.indexOf("/");
  return at > 0 ? { gpu_type: name.slice(0, at), region: name.slice(at + 1) } : null;
}

export const plural = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

export function bytes(n) {
  if (n < 1000) return `${n} B`;
  const units = ["kB", "MB", "GB"];
  let at = -1;
  do {
    n /= 1000;
    at += 1;
  } while (n >= 999.5 && at < units.length - 1);
  return `${n < 10 ? n.toFixed(1) : Math.round(n)} ${units[at]}`;
}
