// What changes while a page is looked at: the phases of all models, and the status of one. Asks for it as a stream, and where there is none every few seconds.
// live({ model, version, onPhases, onModel }) gives { stop() }. onPhases gets {slug: phase} of every model that is not cold; onModel the status as the API has it.
// Who asks for the same shares a stream: a browser has six connections to a server, and each stream holds one.

const EVERY_MS = 5000;
const PATIENCE_MS = 8000;
const STREAM_AGAIN_MS = 20000; // after one was refused

const feeds = new Map(); // by query

export function live({ model, version, onPhases, onModel } = {}) {
  const asked = new URLSearchParams();
  if (model) asked.set("model", model);
  if (model && version) asked.set("version", version);
  const query = model ? `?${asked}` : "";
  const feed = feeds.get(query) ?? new Feed(query, model, version);
  feeds.set(query, feed);
  const listener = { phases: onPhases, model: onModel };
  feed.add(listener);
  return { stop: () => feed.remove(listener) };
}

class Feed {
  constructor(query, model, version) {
    this.query = query;
    this.status = model && `/web/api/v1/model-families/${encodeURIComponent(model)}/status${version ? `?version=${encodeURIComponent(version)}` : ""}`;
    this.listeners = new Set();
    this.last = {};
    this.source = null;
    this.timer = 0;
    this.refusedAt = -Infinity;
    this.round = 0; // what was asked for before the page was hidden says nothing any more
    this.turn = this.turn.bind(this);
    this.close = this.close.bind(this);
  }

  add(listener) {
    this.listeners.add(listener);
    if (this.listeners.size === 1) {
      document.addEventListener("visibilitychange", this.turn);
      addEventListener("pagehide", this.close);
      addEventListener("pageshow", this.turn);
      this.turn();
    }
    // Whoever comes later is told what is known, and not before they have what live() gives them.
    queueMicrotask(() => {
      for (const [name, data] of Object.entries(this.last)) if (this.listeners.has(listener)) listener[name]?.(data);
    });
  }

  remove(listener) {
    if (!this.listeners.delete(listener) || this.listeners.size) return;
    document.removeEventListener("visibilitychange", this.turn);
    removeEventListener("pagehide", this.close);
    removeEventListener("pageshow", this.turn);
    this.close();
    this.last = {};
  }

  tell(name, data) {
    this.last[name] = data;
    for (const listener of [...this.listeners]) listener[name]?.(data);
  }

  turn() {
    if (document.visibilityState !== "visible") this.close();
    else if (!this.source && !this.timer) this.listen();
  }

  close() {
    this.round += 1;
    clearTimeout(this.timer);
    this.timer = 0;
    this.source?.close();
    this.source = null;
  }

  listen() {
    this.timer = 0;
    const source = (this.source = new EventSource(`/web/events${this.query}`));
    source.addEventListener("phases", (event) => this.tell("phases", JSON.parse(event.data).phases));
    source.addEventListener("model", (event) => this.tell("model", JSON.parse(event.data)));
    source.addEventListener("error", () => {
      // A stream whose time is over is asked for again by the browser. One that is refused, or a server that is away, is closed for good.
      if (source !== this.source || source.readyState !== EventSource.CLOSED) return;
      this.source = null;
      this.refusedAt = performance.now();
      this.poll();
    });
  }

  async poll() {
    const mine = this.round;
    this.timer = -1; // something is under way
    const told = (name, said) => mine === this.round && this.tell(name, said);
    const asking = [answer("/web/phases").then((said) => told("phases", said.phases))];
    if (this.status && [...this.listeners].some((one) => one.model)) asking.push(answer(this.status).then((said) => told("model", said)));
    await Promise.allSettled(asking); // what cannot be had for a moment stays as it is shown
    if (mine !== this.round) return;
    const again = performance.now() - this.refusedAt > STREAM_AGAIN_MS;
    this.timer = setTimeout(() => (again ? this.listen() : this.poll()), EVERY_MS);
  }
}

async function answer(address) {
  const reply = await fetch(address, { headers: { "X-Live": "1" }, signal: AbortSignal.timeout(PATIENCE_MS) }); // it is no use of a session
  if (!reply.ok) throw new Error(String(reply.status));
  return reply.json();
}
