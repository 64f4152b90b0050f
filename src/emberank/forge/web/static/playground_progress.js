// The phases of a run and what went wrong with it in, the words and marks beside the answer out. Knows no form.

import { faultOf, waitWords } from "./playground_request.js";

const TICK_MS = 100;
const byId = (id) => document.getElementById(id);
const seconds = (ms) => (ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`);
const AGAIN = "Held: a start has failed, and another one is tried.";
const WORDS = {
  held: "Held: the model is cold, and a place is being found for it.",
  starting: "Starting the model.",
  running: "Running.",
};

export class Progress {
  constructor() {
    this.panel = byId("play-answer-panel");
    this.steps = [...byId("play-phases").querySelectorAll("[data-play-step]")];
    this.timer = 0;
    this.waiting = 0;
    this.said = "";
  }

  begin() {
    this.began = performance.now();
    this.panel.dataset.state = "running";
    this.settle();
    byId("play-fault").replaceChildren();
    byId("play-clock").textContent = seconds(0);
    clearInterval(this.timer);
    this.timer = setInterval(() => (byId("play-clock").textContent = seconds(performance.now() - this.began)), TICK_MS);
  }

  /** On its way, and nothing is known of the model yet. */
  sent() {
    for (const step of this.steps) delete step.dataset.state;
    byId("play-progress").hidden = true;
    this.say("Sent.");
  }

  /** `name` is a phase; `endpoint` what the server says of the endpoint that is meant, or null; `who` is said where there are two. */
  see({ name, endpoint, who = "" }) {
    const at = this.steps.findIndex((step) => step.dataset.playStep === name);
    this.steps.forEach((step, i) => (step.dataset.state = i < at ? "done" : i === at ? "now" : "to come"));
    const words = name === "held" && endpoint?.phase === "FAILED" ? AGAIN : WORDS[name];
    this.say([who && `${who}:`, words, this.about(name, endpoint)].filter(Boolean).join(" "));
    const percent = name === "starting" ? endpoint?.progress?.percent : null;
    const bar = byId("play-progress");
    bar.hidden = name === "running";
    if (typeof percent === "number") bar.value = percent;
    else bar.removeAttribute("value"); // it is not known how far
  }

  /** What the model is in, run or not. */
  phase(name) {
    const mark = byId("play-phase");
    if (mark.dataset.phase === name) return;
    mark.dataset.phase = name;
    mark.textContent = name.toLowerCase();
  }

  about(name, endpoint) {
    if (name === "running" || !endpoint) return "";
    const { progress, eta_s: eta, message } = endpoint;
    const where = `${endpoint.gpu_type} in ${endpoint.region}`;
    const left = typeof eta === "number" && eta >= 1 ? `about ${seconds(Math.round(eta) * 1000).replace(".0", "")} to go` : "";
    const step = progress ? `${progress.step || "starting"}${typeof progress.percent === "number" ? ` ${Math.round(progress.percent)} %` : ""}` : message;
    return `${where}${step ? `: ${step}` : ""}${left ? `, ${left}` : ""}.`;
  }

  say(words) {
    if (words === this.said) return; // a screen reader is told what is new
    this.said = words;
    byId("play-now").textContent = words;
    byId("play-beside").textContent = words; // the answer may be out of sight
  }

  /** `phases` are those that the run went through. */
  end(words, phases = []) {
    clearInterval(this.timer);
    byId("play-clock").textContent = ""; // the words say how long it took
    this.panel.dataset.state = "done";
    byId("play-progress").hidden = true;
    for (const step of this.steps) {
      if (phases.some((one) => one.name === step.dataset.playStep)) step.dataset.state = "done";
      else delete step.dataset.state;
    }
    this.say(words);
  }

  /** What happened and what to do, with the buttons for it. */
  fault(error, about, again) {
    const { title, message, todo, waitS, actions } = faultOf(error, about);
    const box = document.createElement("div");
    box.className = "error play-error";
    box.dataset.playStatus = String(error.kind ?? error.status);
    box.append(line("strong", title), ...[message, todo].filter(Boolean).map((words) => line("p", words)));
    if (waitS) box.append(this.countdown(waitS));
    const bar = document.createElement("div");
    bar.className = "play-bar";
    if (actions.includes("signin")) {
      const link = Object.assign(document.createElement("a"), { className: "button", href: about.sign_in, target: "_blank", rel: "noopener", textContent: "Sign in in a new tab" });
      bar.append(link);
    }
    if (actions.includes("again")) {
      const button = Object.assign(document.createElement("button"), { type: "button", className: "button", textContent: "Run again" });
      button.dataset.playAgain = "";
      button.addEventListener("click", again);
      bar.append(button);
    }
    if (bar.children.length) box.append(bar);
    byId("play-fault").replaceChildren(box);
  }

  /** How long it is until it may be tried again. The seconds are for the eye: a screen reader is told the beginning and the end. */
  countdown(waitS) {
    const until = performance.now() + waitS * 1000;
    const words = line("p", waitWords(waitS));
    words.className = "num";
    words.setAttribute("role", "timer");
    words.setAttribute("aria-live", "off");
    words.dataset.playWait = "";
    this.settle();
    this.waiting = setInterval(() => {
      const left = Math.ceil((until - performance.now()) / 1000);
      if (left <= 0) {
        this.settle();
        words.setAttribute("aria-live", "polite");
      }
      words.textContent = waitWords(left);
    }, 1000);
    return words;
  }

  /** The answer that is below is not that of this run. */
  older() {
    byId("play-fault").append(Object.assign(line("p", "Below is the answer of the run before."), { className: "small muted" }));
  }

  /** Counts no more. */
  settle() {
    clearInterval(this.waiting);
  }
}

// What stands between backquotes is code.
function line(tag, words) {
  const made = document.createElement(tag);
  made.append(...words.split("`").map((part, i) => (i % 2 ? Object.assign(document.createElement("code"), { textContent: part }) : part)));
  return made;
}
