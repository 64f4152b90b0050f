// What a request is compared with: the fields of it in, the other model and target out. Asks the API for another model's versions and targets.

import { choose, fillTargets } from "./playground_form.js";

const PATIENCE_MS = 8000;
const byId = (id) => document.getElementById(id);

export class Other {
  constructor(about, changed) {
    this.about = about;
    this.with = byId("play-with");
    this.version = byId("play-with-version");
    this.target = byId("play-with-target");
    this.versions = [];
    this.round = 0;
    this.with.addEventListener("change", () => this.look().then(changed));
    this.version.addEventListener("change", () => {
      this.offer();
      changed();
    });
    this.target.addEventListener("change", changed);
  }

  /** {slug, title, task, version, target} of it; null for no comparison. */
  read() {
    const option = this.with.selectedOptions[0];
    if (!option?.value) return null;
    const own = option.value === this.about.slug;
    return { slug: option.value, title: own ? this.about.title : option.textContent.trim(), task: this.about.task, version: this.version.value, target: this.target.value };
  }

  async fill(other) {
    if (!choose("play-with", other?.slug ?? "")) this.with.value = "";
    await this.look();
    if (!other || !this.with.value) return;
    if (other.version && choose("play-with-version", other.version)) this.offer();
    if (other.target) choose("play-with-target", other.target);
    byId("play-compare").open = true;
  }

  /** The versions and targets of the model that is chosen. Where they cannot be had, the first version and any target are left. */
  async look() {
    const slug = this.with.value;
    const round = (this.round += 1);
    this.versions = slug === this.about.slug ? this.about.versions : [];
    this.draw();
    if (!slug || slug === this.about.slug || !this.about.signed_in) return;
    try {
      const answer = await fetch(`/web/api/v1/models/${encodeURIComponent(slug)}`, { signal: AbortSignal.timeout(PATIENCE_MS) });
      if (!answer.ok || round !== this.round) return;
      const { versions } = await answer.json();
      if (round !== this.round) return;
      this.versions = versions.map((one) => ({ name: one.name, targets: one.targets.map(targetOf) }));
      this.draw();
    } catch {
      // away for a moment: without a choice it runs where it is best
    }
  }

  draw() {
    this.version.disabled = this.target.disabled = !this.versions.length;
    this.version.replaceChildren(...(this.versions.length ? this.versions.map((one) => new Option(one.name, one.name)) : [new Option("the first", "")]));
    this.offer();
  }

  offer() {
    fillTargets(this.target, this.versions.find((one) => one.name === this.version.value)?.targets ?? []);
  }
}

function targetOf(row) {
  const where = row.region ? `${row.gpu_type} in ${row.region}` : row.gpu_type;
  return { name: `${row.gpu_type}/${row.region}`, words: `${where} · ${row.runnable ? row.status : "cannot run here"}`, runnable: row.runnable };
}
