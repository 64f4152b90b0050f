// Words and numbers in, elements out: the parts that every view of an answer is made of. Whatever is shown is text: nothing of a run is ever read as HTML.

import { counted, unitsOf } from "./answer_orders.js";

const COPIED_MS = 1600;
const ROOMY = { short: 480, opening: 360 }; // a text up to `short` is shown whole, of a longer one its opening
const TIGHT = { short: 160, opening: 110 };
const AROUND = 160;
const PART = 20_000; // more than this of one text is not laid out at once

export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null && value !== undefined) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

export function button(words, press, attributes = {}) {
  const made = el("button", { type: "button", class: "answer-button", ...attributes }, words);
  made.addEventListener("click", () => press(made));
  return made;
}

// A button that copies what `text()` gives. Where there is no clipboard (plain http), what `shown()` gives is selected: one key press copies it then.
export function copyButton(words, text, shown) {
  const made = button(words, async () => {
    let done = "Copied";
    try {
      await navigator.clipboard.writeText(text());
    } catch {
      const range = document.createRange();
      range.selectNodeContents(shown());
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      done = "Selected";
    }
    made.textContent = done;
    setTimeout(() => {
      made.textContent = words;
    }, COPIED_MS);
  });
  made.setAttribute("aria-live", "polite");
  return made;
}

// A box that scrolls by itself can be reached by keyboard, and has a name.
export function scrolling(label, ...children) {
  return el("div", { class: "wide answer-wide", tabindex: "0", role: "group", "aria-label": label }, ...children);
}

// The first of many things, and a button for the next ones: a page of 600 rows is not laid out at once.
export function stepwise(list, things, draw, { first, step, one }) {
  let shown = 0;
  const more = button("", () => {
    const place = list.children.length;
    show(step);
    const next = list.children[place];
    if (!more.isConnected || more.hidden) next?.setAttribute("tabindex", "-1"), next?.focus();
  });
  const show = (many) => {
    list.append(...things.slice(shown, shown + many).map((thing, i) => draw(thing, shown + i)));
    shown = Math.min(things.length, shown + many);
    const left = things.length - shown;
    more.hidden = left === 0;
    more.textContent = `Show ${counted(Math.min(step, left), `more ${one}`)} (${left.toLocaleString("en")} left)`;
  };
  show(first);
  return more;
}

// A cut is never made in the middle of a character.
function cutAt(text, place) {
  const code = text.charCodeAt(place);
  return code >= 0xdc00 && code <= 0xdfff ? place - 1 : place;
}

export function shortened(text, most) {
  const line = text.slice(0, most * 4).replace(/\s+/g, " ").trim();
  return line.length > most ? `${line.slice(0, cutAt(line, most))}…` : line;
}

// A text as it is, a long one folded, with the piece from `chunk.start` to `chunk.end` marked.
export function passageText(text, chunk, { short, opening } = ROOMY) {
  const marked = chunk ? unitsOf(text, chunk.start, chunk.end) : null;
  const box = el("div", { class: "answer-text", dir: "auto" });
  const show = (from, to) => {
    const [start, end] = marked ?? [to, to];
    box.replaceChildren(
      ...[from > 0 ? "…" : "", text.slice(from, Math.max(from, Math.min(start, to)))],
      ...(marked && start < to ? [el("mark", {}, text.slice(Math.max(start, from), Math.min(end, to)))] : []),
      ...[text.slice(Math.min(end, to), to), to < text.length ? "…" : ""],
    );
  };
  if (text.length <= short) {
    show(0, text.length);
    return box;
  }
  const folded = () => {
    if (!marked) return show(0, cutAt(text, opening));
    const end = Math.min(text.length, Math.max(marked[0] + opening, marked[1] + AROUND), marked[0] + PART);
    return show(cutAt(text, Math.max(0, marked[0] - AROUND)), cutAt(text, end));
  };
  let open = 0;
  const size = `${text.length.toLocaleString("en")} characters`;
  const toggle = button(`Show all (${size})`, () => unfold(open ? 0 : PART), { class: "answer-button answer-toggle", "aria-expanded": "false" });
  const further = button("Show more of it", () => unfold(open + PART), { hidden: "" });
  const unfold = (to) => {
    open = Math.min(to, text.length);
    open ? show(0, cutAt(text, open)) : folded();
    further.hidden = !open || open >= text.length;
    toggle.setAttribute("aria-expanded", String(open > 0));
    toggle.textContent = open ? "Show less" : `Show all (${size})`;
  };
  folded();
  return el("div", { class: "answer-long" }, box, el("div", { class: "answer-buttons" }, further, toggle));
}

// What was sent, text or image or both.
export function content(one, number, chunk, tight = false) {
  if (!one) return el("p", { class: "muted" }, `Number ${number} is not in the request.`);
  return el("div", { class: "answer-content" }, one.image ? picture(one.image, number) : null, one.text ? passageText(one.text, chunk, tight ? TIGHT : ROOMY) : null);
}

function picture(address, number) {
  const words = (why) => el("span", { class: "muted" }, why);
  const frame = el("div", { class: "answer-image" });
  if (!/^data:image\//i.test(address)) {
    frame.append(words("An image that is no data URL: nothing is fetched from elsewhere."));
    return frame;
  }
  const image = el("img", { alt: `Image of number ${number}`, decoding: "async" });
  image.addEventListener("error", () => frame.replaceChildren(words("This browser cannot show the image.")));
  image.src = address;
  frame.append(image);
  return frame;
}

// One thing in a few words, for a table or a map.
export function inWords(one, number, most = 60) {
  if (!one) return `number ${number}`;
  return [one.image ? "[image]" : "", shortened(one.text, most)].filter(Boolean).join(" ") || "(blank)";
}

export function note(kind, ...children) {
  return el("p", { class: kind, dir: "auto" }, ...children);
}

// What a run is called beside another one: A or B, the model, and the target where one was chosen.
export function nameOf(run) {
  const target = [run.target?.version, [run.target?.gpu_type, run.target?.region].filter(Boolean).join(" in ")].filter(Boolean).join(", ");
  return `${run.model?.title ?? run.model?.slug ?? "model"}${target ? ` (${target})` : ""}`;
}
