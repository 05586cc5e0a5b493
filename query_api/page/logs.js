// Log lines: newest first, page by page, and live.

import { ask, now } from "./api.js";
import { copyButton, fields, h, longText, oneLine, roving, say, visible } from "./dom.js";
import { histogram } from "./histogram.js";
import { clock, iso, nanos } from "./moments.js";
import { failure, freshness, nothing, total } from "./notices.js";
import { around, bounds, format } from "./state.js";

const PAGE = 200;
const LIVE_PAGE = 1000;
const LIVE_PAGES = 5; // more in two seconds than this is not read by anybody
const LIVE_MILLISECONDS = 2000;
const MOST_LIVE = 5000;
const OVERLAP = 30_000_000_000n; // how much later than newer lines one may arrive
const MINUTE = 60_000;

/** The question of a state: path and body. Pure. */
export function question(state, start, end) {
  const [org, project, component] = state.place;
  const body = {
    startTime: start, endTime: end, sortOrder: "desc", limit: PAGE, environmentId: state.environment,
    searchPhrase: state.phrase, logLevels: state.levels,
  };
  if (component) return [`/api/logs/component/${encodeURIComponent(component)}`, { ...body, organizationId: org, projectId: project }];
  if (project) return [`/api/logs/project/${encodeURIComponent(project)}`, { ...body, organizationId: org }];
  return [`/api/logs/org/${encodeURIComponent(org)}`, body];
}

/** Of an answer that holds all lines from `start` on: those that `shown` lacks. Lines have no id, so equal ones are
 * counted: the n-th of an answer is new when fewer than n are shown. Pure. */
export function newLines(shown, answered, start) {
  const met = new Map();
  for (const line of shown) {
    if (line.at < start) break; // newest first
    met.set(line.key, (met.get(line.key) ?? 0) + 1);
  }
  return answered.filter((line) => {
    const left = met.get(line.key) ?? 0;
    if (left) met.set(line.key, left - 1);
    return !left;
  });
}

const lineOf = (entry) => ({ entry, at: nanos(entry.timestamp), key: JSON.stringify(entry), element: null });

/** Show the view in `main` until `signal` is given up. */
export function showLogs(main, state, go, signal) {
  new Logs(main, state, go, signal).load();
}

class Logs {
  constructor(main, state, go, signal) {
    Object.assign(this, { state, go, signal, lines: [], total: 0, isCapped: false, took: 0, until: null, next: null, dropped: false });
    this.status = h("div", { class: "status" });
    this.chart = h("div");
    this.trouble = h("div");
    this.list = h("ol", { class: "lines", "aria-label": "Log lines, newest first" });
    this.more = h("button", { type: "button", class: "more", hidden: true, onclick: () => this.loadMore() }, "Load more");
    roving(this.list, ".line");
    main.replaceChildren(this.status, this.chart, this.trouble, this.list, this.more);
    main.setAttribute("aria-busy", "true");
    this.main = main;
  }

  async load() {
    this.status.textContent = "Searching…";
    const [from, to] = bounds(this.state, now());
    this.from = from;
    const end = this.state.range === "custom" ? new Date(to).toISOString() : "";
    this.ask = question(this.state, new Date(from).toISOString(), end);
    await this.attempt(() => this.load(), async () => {
      const answer = await ask(...this.ask, this.signal);
      [this.lines, this.total] = [[], 0];
      this.list.replaceChildren();
      this.take(answer, answer.logs.map(lineOf));
      [this.total, this.isCapped] = [answer.totalCount, answer.isCapped];
      this.draw();
      say(`${total(this.total, this.isCapped)} lines found`);
      if (this.state.isLive) this.follow();
    });
  }

  async loadMore() {
    this.more.disabled = true;
    await this.attempt(() => this.loadMore(), async () => {
      const [path, body] = this.ask;
      const answer = await ask(path, { ...body, cursor: this.next, limit: 500 }, this.signal);
      const first = this.lines.length;
      this.take(answer, answer.logs.map(lineOf));
      this.draw();
      this.lines[first]?.element.firstChild.focus({ preventScroll: true });
      say(`${answer.logs.length} more lines`);
    });
    this.more.disabled = false;
  }

  async attempt(retry, action) {
    this.main.setAttribute("aria-busy", "true");
    try {
      await action();
      this.trouble.replaceChildren();
      return true;
    } catch (error) {
      if (this.signal.aborted) return false;
      if (!this.lines.length) this.status.textContent = "";
      this.trouble.replaceChildren(failure(error, retry));
      return false;
    } finally {
      if (!this.signal.aborted) this.main.setAttribute("aria-busy", "false");
    }
  }

  take(answer, lines) {
    this.lines.push(...lines);
    this.list.append(...lines.map((line) => this.element(line)));
    [this.next, this.took, this.until] = [answer.next, answer.tookMs, answer.until];
  }

  draw() {
    const { lines, state } = this;
    const count = `${lines.length.toLocaleString()} of ${total(this.total, this.isCapped)} ${this.total === 1 ? "line" : "lines"}`;
    this.status.replaceChildren(
      h("span", {}, h("strong", {}, count)), h("span", {}, `${this.took} ms`), freshness(this.until),
      ...(state.isLive ? [h("span", { class: "livemark" }, "live")] : []));
    this.more.hidden = !this.next || this.dropped;
    const [, to] = bounds(state, now());
    const oldest = lines.length ? Number(lines.at(-1).at / 1_000_000n) : this.from;
    const from = this.next ? Math.min(oldest, to - 1000) : this.from;
    if (lines.length) this.chart.replaceChildren(histogram(lines.map((line) => line.entry), from, to, (a, b) => this.go(around(state, a, b))));
    else this.chart.replaceChildren(nothing("No lines here.", this.advice()));
  }

  advice() {
    const { state } = this;
    if (state.isLive) return "New lines will appear as they arrive.";
    const narrowing = [state.phrase && "the text", state.levels.length && "the levels", state.environment && "the environment"].filter(Boolean);
    return narrowing.length ? `Take away ${narrowing.join(" or ")}, or choose a longer time.` : "Choose a longer time or a larger place.";
  }

  async follow() {
    let wait = LIVE_MILLISECONDS;
    while (await this.rest(wait)) {
      if (document.hidden) continue;
      wait = (await this.look()) ? LIVE_MILLISECONDS : Math.min(wait * 2, 30_000);
    }
  }

  look() {
    return this.attempt(() => this.look(), () => this.poll());
  }

  rest(milliseconds) {
    return new Promise((resolve) => {
      setTimeout(() => resolve(!this.signal.aborted), milliseconds);
    });
  }

  /** One look at what is new. Lines as old as the oldest shown come by "Load more", if there are more. */
  async poll() {
    const { lines } = this;
    const limits = [BigInt(Math.round(now())) * 1_000_000n, ...(this.until ? [nanos(this.until)] : []), ...(lines.length ? [lines[0].at] : [])];
    const latest = limits.reduce((least, each) => (each < least ? each : least));
    const floor = BigInt(Math.round(this.from)) * 1_000_000n;
    let start = lines.length ? latest - OVERLAP : floor;
    if (start < floor) start = floor;
    if ((this.next || this.dropped) && lines.length && start <= lines.at(-1).at) start = lines.at(-1).at + 1n;
    const [path, body] = this.ask;
    const found = [];
    let cursor = "";
    for (let page = 0; page < LIVE_PAGES; page += 1) {
      const asked = { ...body, startTime: iso(start), endTime: "", limit: LIVE_PAGE, ...(cursor ? { cursor } : {}) };
      const answer = await ask(path, asked, this.signal);
      found.push(...answer.logs.map(lineOf));
      [cursor, this.until, this.took] = [answer.next, answer.until, answer.tookMs];
      if (!cursor) break;
    }
    const added = newLines(lines, found, start);
    for (const line of added) this.insert(line);
    this.total += added.length;
    while (lines.length > MOST_LIVE) {
      lines.pop().element.remove();
      this.dropped = true;
    }
    this.draw();
    if (added.length) say(`${added.length} new lines`);
  }

  insert(line) {
    let at = this.lines.findIndex((each) => each.at <= line.at);
    if (at < 0) at = this.lines.length;
    const element = this.element(line);
    element.classList.add("new");
    this.list.insertBefore(element, this.lines[at]?.element ?? null);
    this.lines.splice(at, 0, line);
  }

  element(line) {
    const { entry } = line;
    const toggle = () => {
      const isOpen = head.getAttribute("aria-expanded") === "true";
      head.setAttribute("aria-expanded", String(!isOpen));
      if (isOpen) line.element.lastChild.remove();
      else line.element.append(this.details(entry));
    };
    const isFirst = line === this.lines[0] && !this.list.children.length;
    const head = h("button", { type: "button", class: "line", "aria-expanded": "false", tabindex: isFirst ? 0 : -1, onclick: toggle },
      h("time", { datetime: entry.timestamp, title: entry.timestamp }, clock(entry.timestamp)),
      h("span", { class: "level" }, visible(entry.logLevel)),
      h("span", { class: "of", title: visible(entry.componentId) }, visible(entry.componentId)),
      h("span", { class: "body", dir: "auto" }, marked(entry.log, this.state.phrase)));
    line.element = h("li", { class: `log l-${entry.logLevel.toLowerCase().replace(/[^a-z]/g, "")}` }, head);
    return line.element;
  }

  details(entry) {
    const at = Date.parse(entry.timestamp);
    const place = [this.state.place[0], entry.projectId, entry.componentId];
    const here = { ...this.state, place, environment: entry.environmentId, levels: [], phrase: "" };
    const { log, labels, ...rest } = entry;
    return h("div", { class: "details" },
      h("pre", {}, longText(log)),
      h("p", { class: "actions" },
        h("a", { href: format({ ...around(here, at - MINUTE, at + MINUTE), view: "traces" }) }, "Traces of this component around this time"),
        h("a", { href: format(around(here, at - MINUTE / 2, at + MINUTE / 2)) }, "All its lines around this time"),
        copyButton("Copy line", log)),
      fields(Object.entries(rest)), Object.keys(labels).length > 0 && h("h3", {}, "Labels"), fields(Object.entries(labels)));
  }
}

/** Where the text looked for is far inside, the line is shown from there. */
function marked(text, phrase) {
  const at = phrase ? text.toLowerCase().indexOf(phrase.toLowerCase()) : -1;
  if (at < 0) return [oneLine(text)];
  const start = at > 200 ? at - 60 : 0;
  const end = at + phrase.length;
  return [start ? "…" : "", oneLine(text.slice(start, at)), h("mark", {}, oneLine(text.slice(at, end))), oneLine(text.slice(end))];
}
