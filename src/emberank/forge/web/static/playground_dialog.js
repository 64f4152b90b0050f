// A list that is pasted, or a file, in; the texts it holds out, after a look at how many there are. Knows no row of the form.

import { KINDS, readList } from "./playground_lists.js";
import { LONGEST_TEXT, bytes, plural } from "./playground_state.js";

const MOST_FILE = 32_000_000; // bytes
const MOST_SHOWN = 400_000; // characters in the text field: with millions it stands still
const PAUSE_MS = 250;
const byId = (id) => document.getElementById(id);

export class ListDialog {
  /** `take({items, query, how, over, long})` gets the texts, and how many were too many and too long; `how` is "replace" or "add". */
  constructor(about, take) {
    this.about = about;
    this.thing = about.task === "rank" ? "passage" : "input";
    this.dialog = byId("play-dialog");
    this.source = byId("play-source");
    this.kind = byId("play-kind");
    this.kind.replaceChildren(...Object.entries(KINDS).map(([value, words]) => new Option(words, value)));
    this.held = null; // {text, name}: what is too long for the field, or a file's
    this.found = null;
    this.timer = 0;
    this.source.addEventListener("paste", (event) => this.pasted(event));
    this.source.addEventListener("input", () => {
      this.held = null;
      byId("play-file").value = "";
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.look(), PAUSE_MS);
    });
    this.kind.addEventListener("change", () => this.look());
    byId("play-file").addEventListener("change", (event) => event.target.files[0] && this.choose(event.target.files[0]));
    byId("play-dialog-form").addEventListener("submit", (event) => {
      if (event.submitter?.value !== "take") return;
      clearTimeout(this.timer);
      this.look(); // typed a moment ago
      if (!this.found?.items.length) {
        event.preventDefault();
        return;
      }
      const how = this.dialog.querySelector('[name="play-how"]:checked').value;
      take({ ...this.found, how });
      this.clear();
    });
  }

  open() {
    if (!this.dialog.open) this.dialog.showModal();
    this.source.focus();
  }

  /** Open with a file that was dropped. */
  async choose(file) {
    this.open();
    this.source.value = "";
    if (file.size > MOST_FILE) {
      this.refuse(`“${file.name}” has ${bytes(file.size)}; a file may have ${bytes(MOST_FILE)}. Cut it into parts, or send it by the API.`);
      return;
    }
    byId("play-preview").textContent = `Reading “${file.name}”…`;
    let text;
    try {
      text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    } catch (error) {
      const why = error instanceof TypeError ? "is no text in UTF-8. Save it as UTF-8 and choose it again." : "could not be read from the disk.";
      this.refuse(`“${file.name}” ${why}`);
      return;
    }
    this.hold(text, file.name);
  }

  pasted(event) {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (text.length + this.source.value.length <= MOST_SHOWN) return;
    event.preventDefault();
    if (text.length > MOST_FILE) {
      this.refuse(`What you pasted has ${plural(text.length, "character")}; at most ${MOST_FILE.toLocaleString("en")} are read. Cut it into parts, or send it by the API.`);
      return;
    }
    this.hold(text, "");
  }

  hold(text, name) {
    this.held = { text, name };
    const whole = text.length <= MOST_SHOWN;
    this.source.value = whole ? text : "";
    this.source.placeholder = whole ? "" : `${name ? `“${name}”` : "What you pasted"} has ${plural(text.length, "character")}: too long to be shown, but it is held and counted.`;
    this.look();
  }

  look() {
    const { text, name } = this.held ?? { text: this.source.value, name: "" };
    const most = this.about.limits.items;
    this.found = readList(text, { kind: this.kind.value, name, most, longest: LONGEST_TEXT });
    const { items, kind, found, empty, long, over, problem, query } = this.found;
    byId("play-take").disabled = !items.length;
    byId("play-take").textContent = items.length ? `Use ${plural(items.length, this.thing)}` : "Use them";
    byId("play-preview").classList.toggle("is-wrong", Boolean(problem));
    if (problem || !found) {
      byId("play-preview").textContent = problem || "Nothing yet.";
      return;
    }
    const left = [
      over ? `${over.toLocaleString("en")} more than one request takes (${most.toLocaleString("en")}) and left out` : "",
      long ? `${long.toLocaleString("en")} longer than ${LONGEST_TEXT.toLocaleString("en")} characters and left out` : "",
      empty && kind !== "lines" && kind !== "paragraphs" ? `${empty.toLocaleString("en")} empty` : "",
    ].filter(Boolean);
    if (!items.length) left.push("nothing of it can be used: cut it into shorter pieces");
    const first = items[0] ? ` The first: “${items[0].length > 80 ? `${items[0].slice(0, 80)}…` : items[0]}”` : "";
    const also = query && this.about.task === "rank" ? " Its query is taken as well." : "";
    byId("play-preview").textContent = `${plural(found, this.thing)}, read as ${KINDS[kind]}${left.length ? `; ${left.join("; ")}` : ""}.${also}${first}`;
  }

  refuse(words) {
    this.held = null;
    this.found = null;
    byId("play-take").disabled = true;
    byId("play-preview").classList.add("is-wrong");
    byId("play-preview").textContent = words;
  }

  clear() {
    this.held = this.found = null;
    this.source.value = "";
    this.source.placeholder = "";
    byId("play-file").value = "";
    this.look();
  }
}
