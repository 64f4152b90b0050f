// A press on Run in, its requests sent and what came of them shown out; one at a time. Knows no row of the form and no view of an answer.

import { keepRun } from "./playground_memory.js";
import { part } from "./playground_parts.js";
import { bodyOf, problemsOf } from "./playground_request.js";
import { send } from "./playground_run.js";
import { targetOf } from "./playground_state.js";

const PHASES = ["held", "starting", "running"];
const RENEW_MS = 8000;
const byId = (id) => document.getElementById(id);

export class Runner {
  /** `read()` gives the form's state, `keep()` keeps it and says whether all of it was kept, `ran()` is called after a run that is remembered. */
  constructor(about, { form, progress, read, keep, ran }) {
    Object.assign(this, { about, form, progress, read, keep, ran });
    this.sending = null; // AbortController of the run in work
    this.button = byId("play-run");
    byId("play-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.start();
    });
    byId("play-form").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.start();
    });
    byId("play-cancel").addEventListener("click", () => this.sending?.abort());
  }

  async start() {
    if (this.sending) return;
    this.form.tidy(); // what is numbered in the answer has the same number here
    const state = this.read();
    const problems = problemsOf(state, this.about);
    this.form.mark(problems);
    if (problems.length) {
      this.progress.say(problems[0].message);
      return;
    }
    const views = part("playground_answer.js").catch(() => null); // comes while the request is under way
    this.sending = new AbortController();
    this.busy(true);
    try {
      if (!this.about.signed_in) await this.renew(); // in another tab, it may be
      if (!this.about.signed_in) {
        this.signIn();
        return;
      }
      this.keep();
      this.progress.begin();
      const runs = await this.answered(state);
      await this.show(state, runs, await views);
    } finally {
      this.sending = null;
      this.busy(false);
    }
  }

  // Run stays where it is and keeps the focus: whoever presses it twice does not press what has come in its place.
  busy(is) {
    if (is) this.button.setAttribute("aria-disabled", "true");
    else this.button.removeAttribute("aria-disabled");
    const cancel = byId("play-cancel");
    if (!is && document.activeElement === cancel) this.button.focus({ preventScroll: true });
    cancel.hidden = !is;
  }

  // Away to sign in, if all of it is kept here; else in another tab.
  signIn() {
    if (this.keep()) {
      location.assign(signInOf(this.about));
      return;
    }
    this.progress.begin();
    this.progress.end("Not sent.");
    this.fault({ status: 401, message: "You are not signed in, and what is in the form is too large to be kept in this browser" });
  }

  fault(error) {
    this.progress.fault(error, { ...this.about, sign_in: signInOf(this.about) }, () => this.start());
  }

  async answered(state) {
    const under = []; // the phases of those that are under way
    const tell = () => {
      const slowest = PHASES.map((name) => under.find((one) => one?.name === name)).find(Boolean);
      if (slowest) this.progress.see(slowest);
      else this.progress.sent();
    };
    const one = (of, version, target, at) => ({
      model: { slug: of.slug, title: of.title, task: this.about.task },
      target: target ? { version, gpu_type: "", region: "", ...targetOf(target) } : null,
      body: bodyOf(state, of, { version, target }),
      deadlineS: Number(state.deadline),
      signal: this.sending.signal,
      version,
      onPhase(phase) {
        under[at] = { ...phase, who: state.other ? "AB"[at] : "" };
        tell();
      },
    });
    const asked = [one(this.about, state.version, state.target, 0)];
    if (state.other) asked.push(one({ ...state.other, task: this.about.task }, state.other.version, state.other.target, 1));
    return Promise.all(
      asked.map(async (each, at) => {
        const run = await this.sentByUs(each);
        under[at] = null;
        if (under.some(Boolean)) tell(); // the other one is still under way
        return run;
      }),
    );
  }

  // A session that was begun anew in another tab has another token: the page is asked for it once.
  async sentByUs(each) {
    const run = await send({ ...each, csrf: this.about.csrf });
    if (![401, 403].includes(run.error?.status) || this.sending.signal.aborted) return run;
    const had = this.about.csrf;
    await this.renew();
    return this.about.csrf && this.about.csrf !== had ? send({ ...each, csrf: this.about.csrf }) : run;
  }

  async renew() {
    try {
      const page = await (await fetch(this.about.page, { signal: AbortSignal.timeout(RENEW_MS), cache: "no-store" })).text();
      const found = JSON.parse(new DOMParser().parseFromString(page, "text/html").querySelector("[data-playground]").dataset.playground);
      if (found.signed_in) Object.assign(this.about, { csrf: found.csrf, signed_in: true });
    } catch {
      // away for a moment: what was answered stands
    }
  }

  async show(state, runs, views) {
    const answers = runs.some((run) => run.answer);
    const failed = runs.find((run) => run.error);
    this.progress.end(wordsOf(runs), runs[0].phases);
    if (failed) this.fault(failed.error);
    else if (!views) this.fault({ status: 0, kind: "unshown" });
    if (!views || !answers) {
      if (byId("play-answer").children.length) this.progress.older(); // the last answer stays: nothing has taken its place
      this.reveal();
      return;
    }
    if (runs.length > 1) await views.showComparison(byId("play-answer"), runs);
    else await views.showAnswer(byId("play-answer"), runs[0]);
    byId("play-answer-panel").classList.toggle("is-comparison", runs.length > 1);
    byId("playground").classList.toggle("is-comparing", runs.length > 1);
    if (!failed) {
      const { slug, title, task } = this.about;
      keepRun({ slug, title, task, state, outcome: `${Math.round(runs[0].elapsedMs).toLocaleString("en")} ms` });
      this.ran();
    }
    this.reveal();
  }

  // On a phone the answer is below the form.
  reveal() {
    const { top } = byId("play-answer-panel").getBoundingClientRect();
    if (top < 0 || top > innerHeight * 0.8) byId("play-answer-title").focus();
  }
}

function wordsOf(runs) {
  if (runs.every((run) => run.answer)) return `Answered in ${(Math.max(...runs.map((run) => run.elapsedMs)) / 1000).toFixed(2)} s.`;
  if (runs.some((run) => run.answer)) return "One of the two answered.";
  return runs.some((run) => run.error?.kind === "cancelled") ? "Cancelled." : "There is no answer.";
}

// On the page of its own the address says what is chosen, and a sign-in leads back to it.
function signInOf(about) {
  return location.pathname === about.page ? `/signin?${new URLSearchParams({ next: location.pathname + location.search })}` : about.sign_in;
}
