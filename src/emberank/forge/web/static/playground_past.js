// Past runs of this browser in, a list to take one up again from out. Knows no form and no run.

import { clearRuns, dropRun, pastRuns } from "./playground_memory.js";
import { plural, isFilled } from "./playground_state.js";

const byId = (id) => document.getElementById(id);
const when = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

export class Past {
  /** `restore(run)` takes one up again, `say(words)` tells what happened. */
  constructor(about, { restore, say }) {
    this.about = about;
    this.restore = restore;
    this.say = say;
    this.list = byId("play-runs");
    byId("play-history-clear").addEventListener("click", () => this.clear());
    byId("play-history").addEventListener("toggle", () => this.draw());
    addEventListener("storage", () => this.draw());
    this.draw();
  }

  draw() {
    const runs = pastRuns(this.about.task);
    byId("play-history-count").textContent = runs.length ? `(${runs.length})` : "";
    byId("play-history-clear").hidden = !runs.length;
    this.list.replaceChildren(...(byId("play-history").open ? runs.map((run) => this.entry(run)) : []));
    if (byId("play-history").open && !runs.length) {
      const none = document.createElement("li");
      none.className = "muted small";
      none.textContent = "There are none yet.";
      this.list.append(none);
    }
  }

  entry(run) {
    const thing = this.about.task === "rank" ? "passage" : "input";
    const entry = document.createElement("li");
    entry.className = "play-past";
    const again = document.createElement("button");
    again.type = "button";
    again.className = "play-past-words";
    again.textContent = run.words;
    again.setAttribute("aria-label", `Take up again: ${run.words}`);
    again.addEventListener("click", () => this.restore(run));
    const facts = document.createElement("span");
    facts.className = "small muted";
    const filled = run.state.items.filter(isFilled).length;
    facts.textContent = [
      when.format(run.at),
      run.slug === this.about.slug ? "" : run.title,
      plural(filled, thing),
      run.outcome,
      run.left ? `without ${plural(run.left, "image")}, too large to be kept` : "",
    ]
      .filter(Boolean)
      .join(" · ");
    const drop = document.createElement("button");
    drop.type = "button";
    drop.className = "play-tool";
    drop.textContent = "✕";
    drop.setAttribute("aria-label", `Forget ${run.words}`);
    drop.addEventListener("click", () => {
      const next = entry.nextElementSibling ?? entry.previousElementSibling;
      const at = next && [...this.list.children].indexOf(next) - (next === entry.nextElementSibling ? 1 : 0);
      dropRun(run.id);
      this.draw();
      (next ? this.list.children[at]?.querySelector(".play-tool") : byId("play-history").querySelector("summary"))?.focus();
      this.say("Forgotten.");
    });
    entry.append(again, facts, drop);
    return entry;
  }

  clear() {
    clearRuns();
    this.draw();
    byId("play-history").querySelector("summary").focus();
    this.say("All earlier runs are forgotten.");
  }
}
