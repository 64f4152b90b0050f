// A run's body and answer in; places, scores, bars, agreement of two orders, and numbers as they are written out. Pure: knows no page.

export const SCALES = {
  logit: { name: "raw logit", unit: false, words: "The model’s own number, of any size and either sign: higher is better, and 0 means nothing special." },
  sigmoid: { name: "sigmoid", unit: true, words: "1 / (1 + e^−logit), from 0 to 1. The order is the logit’s, and it is no probability." },
  calibrated: { name: "calibrated", unit: true, words: "A probability fitted on judged data: of passages with 0.3 about three in ten are relevant, on candidates like those that it was fitted to." },
};

// The ranking of a run: {entries: [{index, place, logit, score, tied, chunk}], scale, passages, unread} or null where the answer is none.
export function rankingOf(run) {
  const rankings = run.answer?.rankings;
  if (!Array.isArray(rankings)) return null;
  const passages = passagesOf(run.body);
  const sound = rankings.filter((one) => Number.isInteger(one?.index) && one.index >= 0 && Number.isFinite(one.logit));
  const said = run.headers?.["emberank-score"];
  const scored = sound.length > 0 && sound.every((one) => Number.isFinite(one.score));
  const scale = scored && said in SCALES ? said : "logit";
  const entries = sound
    .map((one) => ({ index: one.index, logit: one.logit, score: scale === "logit" ? one.logit : one.score, chunk: one.chunk ?? null }))
    .sort((a, b) => b.logit - a.logit || a.index - b.index);
  entries.forEach((one, i) => {
    one.place = i + 1;
    one.tied = entries[i - 1]?.logit === one.logit || entries[i + 1]?.logit === one.logit;
  });
  return { entries, scale, passages, unread: rankings.length - sound.length };
}

// Passages of a NIM's body, whatever was sent: {text, image}.
export function passagesOf(body) {
  return Array.isArray(body?.passages) ? body.passages.map(contentOf) : [];
}

// Inputs of a body for embedding.
export function inputsOf(body) {
  const inputs = Array.isArray(body?.input) ? body.input : body?.input === undefined ? [] : [body.input];
  return inputs.map((one) => (typeof one === "string" ? embedded(one) : contentOf(one)));
}

function contentOf(one) {
  if (typeof one === "string") return { text: one, image: null };
  return { text: typeof one?.text === "string" ? one.text : "", image: typeof one?.image === "string" ? one.image : null };
}

// A data URL is an image, and so is one in <img src="…">; the rest is text.
function embedded(input) {
  if (/^data:image\//i.test(input)) return { text: "", image: input.trim() };
  const found = /<img\s+src=["'](data:image\/[^"']+)["']\s*\/?>/i.exec(input);
  return found ? { text: input.replace(found[0], ""), image: found[1] } : { text: input, image: null };
}

// Places, from 0 on, in Emberank-Truncated: {places: Set, more: that there are others, words: where only a number is said}.
export function truncatedOf(run) {
  const said = run.headers?.["emberank-truncated"] ?? "";
  const parts = said.split(",").map((part) => part.trim());
  const places = new Set(parts.filter((part) => /^\d+$/.test(part)).map(Number));
  return { places, more: parts.includes("..."), words: said && !places.size ? said : "" };
}

// Where a bar begins and how long it is, in hundredths of the axis; and where 0 is. Raw scores have an axis that holds 0 and all of them.
export function axisOf(scores, unit) {
  const low = unit ? 0 : Math.min(0, ...scores);
  const high = unit ? 1 : Math.max(0, ...scores);
  const span = high - low || 1;
  return { low, high, zero: ((0 - low) / span) * 100, bar: (score) => ({ start: ((Math.min(score, 0) - low) / span) * 100, length: (Math.abs(score) / span) * 100 }) };
}

// Code points are what offsets in an answer count, code units what a string has here. Null where the offsets do not fit the text.
export function unitsOf(text, start, end) {
  if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || end <= start) return null;
  let [points, from] = [0, -1];
  for (let i = 0; i <= text.length; points += 1) {
    if (points === start) from = i;
    if (points === end) return [from, i];
    i += text.codePointAt(i) > 0xffff ? 2 : 1;
  }
  return null;
}

// How far two lists of scores of the same things agree: Kendall's tau-b, and the pairs it is made of. Tau is null where one list is all ties.
export function agreement(left, right) {
  let [same, turned, tiedLeft, tiedRight] = [0, 0, 0, 0];
  for (let i = 0; i < left.length; i += 1) {
    for (let j = i + 1; j < left.length; j += 1) {
      const [a, b] = [Math.sign(left[i] - left[j]), Math.sign(right[i] - right[j])];
      if (a === 0) tiedLeft += 1;
      if (b === 0) tiedRight += 1;
      if (a * b > 0) same += 1;
      if (a * b < 0) turned += 1;
    }
  }
  const pairs = (left.length * (left.length - 1)) / 2;
  const below = Math.sqrt((pairs - tiedLeft) * (pairs - tiedRight));
  return { same, turned, pairs, tau: below > 0 ? (same - turned) / below : null };
}

export function tauWords(tau) {
  if (tau === null) return "no order to compare";
  if (tau === 1) return "the same order";
  if (tau >= 0.8) return "nearly the same order";
  if (tau >= 0.5) return "much the same order";
  if (tau >= 0.2) return "some likeness";
  if (tau > -0.2) return "hardly any likeness";
  return tau === -1 ? "the opposite order" : "rather the opposite order";
}

// The same things in two lists, by what they are: [[place in the first, place in the second]]; the second of two equal ones meets the second.
export function matched(left, right) {
  const waiting = new Map();
  right.forEach((key, i) => waiting.set(key, [...(waiting.get(key) ?? []), i]));
  return left.flatMap((key, i) => {
    const place = waiting.get(key)?.shift();
    return place === undefined ? [] : [[i, place]];
  });
}

export function keyOf(content) {
  return `${content.image ?? ""}\n${content.text}`;
}

// Decimals that tell different numbers apart, as far as six do it, and round nothing to 0 or to 1.
export function decimalsFor(values, least = 3) {
  const different = new Set(values).size;
  const whole = (x, decimals) => [0, 1].some((bound) => x !== bound && Number(x.toFixed(decimals)) === bound);
  for (let decimals = least; decimals < 6; decimals += 1) {
    if (new Set(values.map((x) => x.toFixed(decimals))).size === different && !values.some((x) => whole(x, decimals))) return decimals;
  }
  return 6;
}

// A number with so many decimals; with more where it would be 0 and is not.
export function written(value, decimals = 3) {
  if (!Number.isFinite(value)) return "not known";
  const text = value.toFixed(decimals);
  if (value === 0 || Number(text) !== 0) return text.replace("-", "−");
  const size = Math.floor(Math.log10(Math.abs(value)));
  return (size < -12 ? value.toExponential(1) : value.toFixed(1 - size)).replace("-", "−");
}

export function duration(ms) {
  if (ms === null || !Number.isFinite(ms)) return "not known";
  if (ms < 9.995) return `${written(ms, 2)} ms`;
  if (ms < 999.5) return `${ms.toFixed(ms < 99.95 ? 1 : 0)} ms`;
  if (ms < 59_995) return `${(ms / 1000).toFixed(2)} s`;
  const s = Math.round(ms / 1000);
  return `${Math.floor(s / 60)} min ${s % 60} s`;
}

export function counted(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

export function listed(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}
