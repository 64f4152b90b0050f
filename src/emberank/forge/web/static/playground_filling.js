// Samples, pasted lists, dropped files and images in, rows of the form out. Knows no run, and keeps nothing.

import { part } from "./playground_parts.js";
import { blank, plural } from "./playground_state.js";

const MOST_AT_ONCE = 50; // images
const byId = (id) => document.getElementById(id);

export class Filling {
  /** `remember()` keeps what is there for Undo, `fill(state)` takes its place, `say(words)` tells what happened. */
  constructor(about, { form, other, remember, fill, say }) {
    Object.assign(this, { about, form, other, remember, fill, say });
    this.lists = null; // the dialog, once somebody wants it
    for (const button of document.querySelectorAll("[data-play-sample]")) {
      button.addEventListener("click", () => this.sample(about.samples[Number(button.dataset.playSample)]));
    }
    byId("play-paste").addEventListener("click", () => this.openLists());
    byId("play-images")?.addEventListener("click", () => byId("play-image-files").click());
    byId("play-image-files")?.addEventListener("change", (event) => {
      this.takeImages([...event.target.files]);
      event.target.value = "";
    });
    byId("play-clear").addEventListener("click", () => this.clear());
    this.dropping(byId("play-form"));
  }

  async sample(sample) {
    this.remember();
    const { version, target, deadline } = this.form.read();
    const items = sample.items.map((text) => ({ text }));
    await this.fill({ ...blank(), version, target, deadline, query: sample.query, items, ...sample.options, other: this.other.read() });
    this.say(`${sample.title}. ${sample.note}`, { undo: true });
  }

  async clear() {
    this.remember();
    const { version, target, deadline } = this.form.read();
    await this.fill({ ...blank(), version, target, deadline });
    this.say("Cleared.", { undo: true });
    this.form.focus();
  }

  take({ items, query, how, over: more, long }) {
    this.remember();
    if (query && byId("play-query")) byId("play-query").value = query;
    if (how === "replace") this.form.list.replaceChildren();
    const over = this.form.add(items.map((text) => ({ text })));
    const left = [over + more ? `${(over + more).toLocaleString("en")} did not fit` : "", long ? `${long.toLocaleString("en")} were too long` : ""].filter(Boolean);
    const done = how === "add" ? "added" : "taken";
    this.say(`${plural(items.length - over, this.form.thing)} ${done}${left.length ? `; ${left.join(", and ")}` : ""}.`, { undo: true });
  }

  async takeImages(files) {
    const images = await part("playground_images.js").catch(() => this.away());
    if (!images) return;
    const added = [];
    const wrong = [];
    if (files.length > MOST_AT_ONCE) wrong.push(`${plural(files.length, "image")} at one time are too many: the first ${MOST_AT_ONCE} are taken.`);
    if (files.length > 1) this.say(`Reading ${plural(Math.min(files.length, MOST_AT_ONCE), "image")}…`);
    for (const file of files.slice(0, MOST_AT_ONCE)) {
      try {
        added.push({ text: "", image: await images.readImage(file, this.about.limits.image_bytes) });
      } catch (error) {
        if (!(error instanceof images.ImageFault)) throw error;
        wrong.push(error.message);
      }
    }
    if (added.length) this.remember();
    const over = added.length ? this.form.add(added) : 0;
    if (over) wrong.push(`${plural(over, "image")} did not fit.`);
    const done = added.length - over;
    if (done) wrong.unshift(`${plural(done, "image")} added.`);
    this.say(wrong.slice(0, 6).join(" "), { wrong: wrong.length > (done ? 1 : 0), undo: added.length > 0 });
  }

  async openLists(file) {
    let dialog;
    try {
      dialog = await part("playground_dialog.js");
    } catch {
      this.away();
      return;
    }
    this.lists ??= new dialog.ListDialog(this.about, (found) => this.take(found));
    if (file) this.lists.choose(file);
    else this.lists.open();
  }

  takeFiles(files) {
    const images = files.filter((file) => file.type.startsWith("image/"));
    const texts = files.filter((file) => !file.type.startsWith("image/"));
    if (images.length && this.about.images) this.takeImages(images);
    else if (images.length) this.say(`${this.about.title} reads no images: “${images[0].name}” was not added. Choose a model that reads them.`, { wrong: true });
    if (texts.length) this.openLists(texts[0]);
    if (texts.length > 1) this.say(`One file at a time: “${texts[0].name}” is read, and the others are not.`, { wrong: true });
  }

  dropping(place) {
    const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    place.addEventListener("dragover", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      place.classList.add("is-over");
    });
    place.addEventListener("dragleave", (event) => place.contains(event.relatedTarget) || place.classList.remove("is-over"));
    place.addEventListener("drop", (event) => {
      place.classList.remove("is-over");
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.takeFiles([...event.dataTransfer.files]);
    });
    // A picture that is pasted anywhere on the page is meant for the form: there is nothing else that takes one.
    document.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (!files.length || event.clipboardData.getData("text/plain") || event.target.closest?.("dialog")) return;
      event.preventDefault();
      this.takeFiles(files);
    });
  }

  away() {
    this.say("A part of this page could not be loaded: the server is away for a moment. Try it again.", { wrong: true });
  }
}
