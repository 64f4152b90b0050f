// The form in, its state out, and back; rows that are added, removed and moved, also by keyboard and by dragging. Sends nothing and keeps nothing.

import { part } from "./playground_parts.js";
import { LONGEST_TEXT, isFilled, plural } from "./playground_state.js";

const FIELDS = {
  query: "play-query",
  version: "play-version",
  target: "play-target",
  truncate: "play-truncate",
  scale: "play-scale",
  chunks: "play-chunks",
  cut: "play-cut",
  inputType: "play-input-type",
  dimensions: "play-dimensions",
  deadline: "play-deadline",
};
const WRONG = { query: "play-query", items: "play-items", inputType: "play-input-type", body: "play-body" };
const byId = (id) => document.getElementById(id);

export class Form {
  /** `changed(how)` is called after every change; `say(words)` tells what happened. */
  constructor(about, { changed, say }) {
    this.about = about;
    this.thing = about.task === "rank" ? "passage" : "input";
    this.changed = changed;
    this.say = say;
    this.list = byId("play-items");
    this.images = new WeakMap(); // row → image
    this.form = byId("play-form");
    this.form.addEventListener("input", (event) => {
      this.unmark(event.target);
      this.count();
      changed("typed");
    });
    this.list.addEventListener("click", (event) => this.pressed(event));
    this.list.addEventListener("keydown", (event) => this.keyed(event));
    this.form.addEventListener("paste", (event) => this.pasted(event));
    byId("play-version").addEventListener("change", () => this.offer());
    byId("play-add").addEventListener("click", () => this.add([{ text: "" }], { focus: true }));
    this.dragging();
  }

  focus(how) {
    (byId("play-query") ?? byId("play-item-1")).focus(how);
  }

  /** Whether somebody has changed what the page came with. */
  isTouched() {
    const first = (select) => Math.max(0, [...select.options].findIndex((one) => one.defaultSelected));
    return [...this.form.querySelectorAll("textarea, input:not([readonly]), select")].some((field) =>
      field.tagName === "SELECT" ? field.selectedIndex !== first(field) : field.type !== "file" && field.value !== field.defaultValue,
    );
  }

  /** Without the rows that hold nothing, where there are others. */
  tidy() {
    const empty = this.rows().filter((row) => !isFilled(this.itemOf(row)));
    if (!empty.length || empty.length === this.list.children.length) return;
    const focused = empty.some((row) => row.contains(document.activeElement));
    for (const row of empty) row.remove();
    this.number();
    if (focused) byId("play-run").focus({ preventScroll: true });
    this.changed("removed");
  }

  rows() {
    return [...this.list.children];
  }

  itemOf(row) {
    const image = this.images.get(row);
    const text = row.querySelector("[data-play-text]").value;
    return image ? { text, image } : { text };
  }

  read() {
    const state = { items: this.rows().map((row) => this.itemOf(row)) };
    for (const [name, id] of Object.entries(FIELDS)) state[name] = byId(id)?.value ?? "";
    return state;
  }

  /** Put a state into the form. What this model does not have (a target, a version) stays as it was. */
  fill(state, { pin = true } = {}) {
    if (pin && state.version) choose("play-version", state.version);
    this.offer();
    for (const [name, id] of Object.entries(FIELDS)) {
      const field = byId(id);
      if (!field || name === "version" || (name === "target" && !pin)) continue;
      if (field.tagName === "SELECT") choose(id, state[name]);
      else field.value = state[name] ?? "";
    }
    this.list.replaceChildren(...state.items.slice(0, this.about.limits.items).map((item) => this.rowOf(item)));
    if (state.chunks || state.cut) byId("play-options").open = true;
    this.number();
    this.mark([]);
  }

  /** Rows at the end; the empty ones that are there are used up first. Answers how many did not fit. */
  add(items, { focus = false } = {}) {
    if (!focus) for (const row of this.rows()) if (!isFilled(this.itemOf(row))) row.remove();
    const room = Math.max(0, this.about.limits.items - this.list.children.length);
    const taken = items.slice(0, room).map((item) => this.rowOf(item));
    this.list.append(...taken);
    if (!this.list.children.length) this.list.append(this.rowOf({ text: "" }));
    this.number();
    if (!room) this.say(`One request takes ${plural(this.about.limits.items, this.thing)}, and they are all here. Remove one first.`);
    else if (focus) taken[0].querySelector("[data-play-text]").focus();
    this.changed("added");
    return items.length - taken.length;
  }

  rowOf(item) {
    const row = byId("play-row").content.firstElementChild.cloneNode(true);
    row.querySelector("[data-play-text]").value = item.text;
    if (item.image) this.show(row, item.image);
    return row;
  }

  show(row, image) {
    this.images.set(row, image);
    const box = row.querySelector("[data-play-image]");
    const words = document.createElement("span");
    words.className = "small muted";
    words.textContent = image.name || image.kind;
    const remove = document.createElement("button");
    remove.type = "button";
    remove.className = "button play-small";
    remove.dataset.playUnimage = "";
    remove.textContent = "Remove image";
    const frame = document.createElement("span");
    frame.className = "play-picture";
    box.replaceChildren(frame, words, remove);
    box.hidden = false;
    row.querySelector("[data-play-text]").placeholder = "Text beside the image, if any";
    part("playground_images.js")
      .then(async ({ described, previewOf }) => {
        words.textContent = described(image);
        frame.replaceChildren((await previewOf(image)) ?? "no preview in this browser");
      })
      .catch(() => frame.replaceChildren("no preview: the server is away"));
  }

  unshow(row) {
    this.images.delete(row);
    const box = row.querySelector("[data-play-image]");
    box.replaceChildren();
    box.hidden = true;
    row.querySelector("[data-play-text]").placeholder = "";
    row.querySelector("[data-play-text]").focus();
    this.count();
    this.changed("removed");
    this.say("The image was removed.", { undo: true });
  }

  /** Names and numbers of the rows, after something was added, removed or moved. */
  number() {
    const rows = this.rows();
    rows.forEach((row, i) => {
      const name = `${this.thing} ${i + 1}`;
      const field = row.querySelector("[data-play-text]");
      const label = row.querySelector("[data-play-name]");
      field.id = `play-item-${i + 1}`;
      label.htmlFor = field.id;
      label.textContent = name[0].toUpperCase() + name.slice(1);
      const [up, down] = row.querySelectorAll("[data-play-move]");
      up.setAttribute("aria-label", `Move ${name} up`);
      down.setAttribute("aria-label", `Move ${name} down`);
      up.disabled = i === 0;
      down.disabled = i === rows.length - 1;
      row.querySelector("[data-play-remove]").setAttribute("aria-label", `Remove ${name}`);
    });
    this.count();
  }

  count() {
    const rows = this.rows();
    const filled = rows.filter((row) => isFilled(this.itemOf(row))).length;
    const most = this.about.limits.items;
    byId("play-count").textContent = `${filled.toLocaleString("en")} of up to ${most.toLocaleString("en")}`;
    byId("play-add").disabled = rows.length >= most;
  }

  pressed(event) {
    const button = event.target.closest("button");
    const row = event.target.closest("[data-play-item]");
    if (!button || !row) return;
    if (button.dataset.playMove) this.move(row, Number(button.dataset.playMove), button);
    else if ("playRemove" in button.dataset) this.remove(row);
    else if ("playUnimage" in button.dataset) {
      this.changed("before");
      this.unshow(row);
    }
  }

  keyed(event) {
    const row = event.target.closest("[data-play-item]");
    if (!row || !event.altKey || event.ctrlKey || event.metaKey || !["ArrowUp", "ArrowDown"].includes(event.key)) return;
    event.preventDefault();
    this.move(row, event.key === "ArrowUp" ? -1 : 1, event.target);
  }

  move(row, by, focus) {
    const other = by < 0 ? row.previousElementSibling : row.nextElementSibling;
    if (!other) return;
    if (by < 0) other.before(row);
    else other.after(row);
    this.number();
    const at = this.rows().indexOf(row) + 1;
    // A button that is switched off cannot keep the focus: the other one of the two takes it.
    const next = focus.disabled ? row.querySelector(`[data-play-move="${-by}"]`) : focus;
    next.focus();
    this.say(`Now ${this.thing} ${at} of ${this.list.children.length}.`);
    this.changed("moved");
  }

  remove(row) {
    const rows = this.rows();
    const at = rows.indexOf(row);
    const had = isFilled(this.itemOf(row));
    this.changed("before");
    row.remove();
    if (!this.list.children.length) this.list.append(this.rowOf({ text: "" }));
    this.number();
    this.list.children[Math.min(at, this.list.children.length - 1)].querySelector("[data-play-text]").focus({ preventScroll: true });
    this.changed("removed");
    this.say(`${this.thing[0].toUpperCase()}${this.thing.slice(1)} ${at + 1} was removed.`, { undo: had });
  }

  pasted(event) {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (text.length <= LONGEST_TEXT || event.target.id === "play-source") return;
    event.preventDefault(); // a text field with millions of characters stands still
    this.say(
      `What you pasted has ${plural(text.length, "character")}, and one field takes ${LONGEST_TEXT.toLocaleString("en")}: nothing was changed. If it is a list of ${this.thing}s, use “Paste a list or choose a file”.`,
      { wrong: true },
    );
  }

  /** Dragging a row by its head. Buttons and keys do the same. */
  dragging() {
    let dragged = null;
    this.list.addEventListener("pointerdown", (event) => {
      const head = event.target.closest(".play-item-head");
      if (head && !event.target.closest("button")) head.parentElement.draggable = true;
    });
    this.list.addEventListener("pointerup", () => this.rows().forEach((row) => (row.draggable = false)));
    this.list.addEventListener("dragstart", (event) => {
      dragged = event.target.closest?.("[data-play-item]");
      if (dragged) event.dataTransfer.effectAllowed = "move";
    });
    this.list.addEventListener("dragover", (event) => {
      const row = event.target.closest("[data-play-item]");
      if (!dragged) return;
      event.preventDefault();
      if (!row || row === dragged) return;
      const { top, height } = row.getBoundingClientRect();
      if (event.clientY < top + height / 2) row.before(dragged);
      else row.after(dragged);
    });
    this.list.addEventListener("dragend", () => {
      if (!dragged) return;
      dragged.draggable = false;
      dragged = null;
      this.number();
      this.changed("moved");
    });
  }

  /** The targets and scores that the chosen version has. */
  offer() {
    const version = this.about.versions.find((one) => one.name === byId("play-version").value) ?? this.about.versions[0];
    fillTargets(byId("play-target"), version.targets);
    const calibrated = byId("play-scale")?.querySelector('[value="calibrated"]');
    if (!calibrated) return;
    calibrated.disabled = !version.calibrated;
    calibrated.textContent = version.calibrated ? "Calibrated" : "Calibrated: not for this version";
    if (calibrated.selected && calibrated.disabled) byId("play-scale").value = "logit";
  }

  /** Say at each field what is wrong with it, and go to the first. */
  mark(problems) {
    for (const field of this.form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
    for (const words of this.form.querySelectorAll(".play-wrong")) words.hidden = true;
    let first = null;
    for (const { field, item, message } of problems) {
      const row = item === undefined ? null : this.list.children[item];
      const words = field === "item" ? row.querySelector("[data-play-wrong]") : byId(`${WRONG[field]}-wrong`);
      if (!words.hidden) continue;
      words.textContent = message;
      words.hidden = false;
      const input = row?.querySelector("[data-play-text]") ?? byId(WRONG[field]);
      if (input && input !== this.list) {
        input.setAttribute("aria-invalid", "true");
        words.id ||= `${input.id}-wrong`;
        input.setAttribute("aria-describedby", words.id);
      }
      first ??= input && input !== this.list ? input : words;
    }
    first?.scrollIntoView({ block: "nearest" });
    first?.focus?.();
  }

  unmark(field) {
    if (!field.hasAttribute?.("aria-invalid")) return;
    field.removeAttribute("aria-invalid");
    const words = byId(field.getAttribute("aria-describedby"));
    if (words) words.hidden = true;
    byId("play-items-wrong").hidden = true;
  }
}

/** Choose a value of a select, if it is there and can be chosen. */
export function choose(id, value) {
  const option = [...byId(id).options].find((one) => one.value === value && !one.disabled);
  if (option) option.selected = true;
  return Boolean(option);
}

/** "Any available" and these targets. The one that was chosen stays so where it is there. */
export function fillTargets(select, targets) {
  const chosen = select.value;
  const any = new Option("Any available", "");
  const options = targets.map(({ name, words, runnable }) => {
    const option = new Option(words, name);
    option.disabled = !runnable;
    return option;
  });
  select.replaceChildren(any, ...options);
  select.value = targets.some((one) => one.name === chosen && one.runnable) ? chosen : "";
}
