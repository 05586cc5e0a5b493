// One trace as a waterfall, with the details of the span that is chosen.

import { ask } from "./api.js";
import { copyButton, fields, h, roving, say, visible } from "./dom.js";
import { clock, duration, iso, nanos } from "./moments.js";
import { failure, freshness, nothing } from "./notices.js";
import { around, format } from "./state.js";
import { treeOf, unfolded } from "./tree.js";

const PAGE = 1000;
const MOST = 10_000;
const HUES = 8;
const AROUND = 5000;

export async function showTrace(main, state, go, signal) {
  main.replaceChildren(h("div", { class: "status" }, "Loading the trace…"));
  main.setAttribute("aria-busy", "true");
  try {
    const found = await spansOf(state.id, signal);
    const back = h("a", { href: format({ ...state, view: "traces" }) }, "← Traces");
    if (found.spans.length) new Trace(main, state, go, found, back);
    else main.replaceChildren(back, nothing("This trace is not here.", "It may be older than what is kept, still on its way, or of a place that your roles do not open."));
  } catch (error) {
    if (!signal.aborted) main.replaceChildren(failure(error, () => showTrace(main, state, go, signal)));
  }
  if (!signal.aborted) main.setAttribute("aria-busy", "false");
}

/** All spans up to `MOST`: a page goes on at the last one's start, so those met before are left out. */
async function spansOf(id, signal) {
  const spans = new Map();
  let answer = {};
  let startTime = "";
  let took = 0;
  do {
    const body = { includeAttributes: true, limit: PAGE, sortOrder: "asc", startTime };
    answer = await ask(`/api/v1alpha1/traces/${id}/spans/query`, body, signal);
    took += answer.tookMs;
    const known = spans.size;
    for (const span of answer.spans) spans.set(`${span.spanId} ${span.startTime} ${span.durationNs} ${span.spanName}`, span);
    startTime = answer.spans.at(-1)?.startTime;
    if (spans.size === known) break; // a thousand that start at once: there is no way past them
  } while (answer.spans.length === PAGE && spans.size < MOST);
  const isPart = answer.spans.length === PAGE;
  return { spans: [...spans.values()].map(read), isPart, until: answer.until, took };
}

function read(span) {
  const start = nanos(span.startTime);
  const service = span.resourceAttributes?.["service.name"] ?? "";
  return { ...span, start, end: start + BigInt(span.durationNs), service, isFailed: span.status.code === "error" };
}

class Trace {
  constructor(main, state, go, found, back) {
    Object.assign(this, { main, state, go, ...found, closed: new Set() });
    this.nodes = treeOf(this.spans);
    this.start = this.spans.reduce((least, span) => (span.start < least ? span.start : least), this.spans[0].start);
    const end = this.spans.reduce((most, span) => (span.end > most ? span.end : most), this.start + 1n);
    this.length = Number(end - this.start) || 1;
    this.services = [...new Set(this.spans.map((span) => span.service))].sort();
    this.rows = h("div", { class: "tree", role: "tree", "aria-label": "Spans" });
    this.panel = h("aside", { class: "panel", "aria-label": "Span" });
    roving(this.rows, ".span", (event, row) => this.key(event, row.node));
    this.rows.addEventListener("focusin", (event) => event.target.node && this.choose(event.target.node));
    this.rows.addEventListener("click", (event) => this.click(event));
    main.replaceChildren(this.head(back), h("div", { class: "trace-view" }, h("div", { class: "waterfall" }, this.axis(), this.rows), this.panel));
    this.draw();
    const chosen = this.nodes.find((node) => node.span?.spanId === state.span) ?? this.nodes.find((node) => node.span?.isFailed) ?? this.nodes.find((node) => node.span);
    this.choose(chosen, !state.span);
    chosen.row.tabIndex = 0;
    if (state.span) chosen.row.scrollIntoView({ block: "nearest" });
    say(`Trace with ${this.spans.length} spans`);
  }

  head(back) {
    const root = this.nodes.find((node) => node.span).span;
    const failed = this.spans.filter((span) => span.isFailed).length;
    const key = this.services.map((service) => h("span", { class: `key s${this.hue(service)}` }, visible(service || "(no service)")));
    return h("div", { class: "trace-head" }, back,
      h("h1", {}, visible(root.spanName || "(no name)"), failed > 0 && h("span", { class: "badge" }, `${failed} failed`)),
      h("div", { class: "status" },
        h("span", {}, clock(iso(this.start))), h("span", {}, h("strong", {}, duration(this.length))),
        h("span", {}, `${this.spans.length.toLocaleString()} spans`), h("span", {}, `${this.took} ms`), freshness(this.until),
        h("span", { class: "id" }, h("code", {}, this.state.id), copyButton("Copy", this.state.id))),
      this.isPart && h("p", { class: "notice" }, `Only the first ${this.spans.length.toLocaleString()} spans are shown.`),
      h("p", { class: "keys" }, key));
  }

  hue(service) {
    return this.services.indexOf(service) % HUES;
  }

  axis() {
    const marks = [0, 0.25, 0.5, 0.75].map((share) => h("span", {}, share ? duration(Math.round(this.length * share)) : "0"));
    return h("div", { class: "axis", "aria-hidden": "true" }, h("span"), h("div", {}, marks), h("span"));
  }

  draw() {
    this.shown = unfolded(this.nodes, this.closed);
    this.rows.replaceChildren(...this.shown.map((node) => (node.row ??= this.row(node))));
  }

  row(node) {
    const { span, children, depth } = node;
    const name = h("span", { class: "name" },
      h("span", { class: "fold", "aria-hidden": "true" }),
      h("span", { class: "label" }, span ? visible(span.spanName || "(no name)") : `${node.note}: ${visible(node.missing)}`),
      span && h("span", { class: "dim" }, visible(span.service), node.note && ` (${node.note})`));
    name.style.paddingInlineStart = `${Math.min(depth, 24) * 14}px`;
    const row = h("div", {
      class: `span${span?.isFailed ? " failed" : ""}${span ? ` s${this.hue(span.service)}` : ""}`, role: "treeitem", tabindex: -1,
      "aria-level": depth + 1, "aria-expanded": children.length ? "true" : null, "aria-selected": "false",
    }, name, h("span", { class: "track" }, span && this.bar(span)), h("span", { class: "took" }, span && duration(span.durationNs)));
    row.node = node;
    return row;
  }

  bar(span) {
    const left = (Number(span.start - this.start) / this.length) * 100;
    const width = Math.max((span.durationNs / this.length) * 100, 0.3);
    const bar = h("span", { class: "bar" });
    [bar.style.left, bar.style.width] = [`${Math.min(left, 99.7)}%`, `${Math.min(width, 100 - left)}%`];
    return bar;
  }

  click(event) {
    const { node } = event.target.closest(".span") ?? {};
    if (node && event.target.closest(".fold")) this.fold(node, !this.closed.has(node));
  }

  fold(node, isClosed) {
    if (!node.children.length) return;
    if (isClosed) this.closed.add(node);
    else this.closed.delete(node);
    node.row.setAttribute("aria-expanded", String(!isClosed));
    this.draw();
    node.row.focus({ preventScroll: true });
  }

  /** True if the key was one of ours (WAI-ARIA: tree view). */
  key(event, node) {
    const isOpen = node.children.length > 0 && !this.closed.has(node);
    if (event.key === "ArrowRight") isOpen ? node.children[0].row.focus() : this.fold(node, false);
    else if (event.key === "ArrowLeft") isOpen ? this.fold(node, true) : node.parent?.row.focus();
    else if (event.key === "Enter" || event.key === " ") isOpen || this.closed.has(node) ? this.fold(node, isOpen) : null;
    else return false;
    return true;
  }

  choose(node, isFirst = false) {
    if (this.chosen === node) return;
    this.chosen?.row?.setAttribute("aria-selected", "false");
    this.chosen = node;
    node.row.setAttribute("aria-selected", "true");
    this.panel.replaceChildren(...(node.span ? this.details(node.span) : [h("p", {}, `The span ${node.missing} is named as a parent, but is not here: not sampled, still on its way, or of a place that your roles do not open.`)]));
    if (node.span && !isFirst) {
      this.state = { ...this.state, span: node.span.spanId };
      history.replaceState(null, "", format(this.state));
    }
  }

  details(span) {
    const { attributes = {}, resourceAttributes: resource = {} } = span;
    const place = ["organization.id", "project.id", "component.id"].map((key) => resource[key] ?? "");
    const [from, to] = [span.start, span.end].map((each) => Number(each / 1_000_000n));
    const there = { ...this.state, view: "logs", place, environment: resource["environment.id"] ?? "", levels: [], phrase: "" };
    const offset = duration(span.start - this.start);
    return [
      h("h2", {}, visible(span.spanName || "(no name)")),
      span.isFailed && h("p", { class: "notice bad" }, visible(span.status.message || "failed, without a message")),
      h("p", { class: "actions" }, place[0] && h("a", { href: format(around(there, from - AROUND, to + AROUND)) }, "Logs of this component around this span")),
      fields([["service", span.service], ["kind", span.spanKind], ["status", span.status.code], ["starts at", `${clock(span.startTime)} (+${offset})`],
        ["takes", duration(span.durationNs)], ["span id", span.spanId], ["parent", span.parentSpanId]]),
      h("h3", {}, "Attributes"), Object.keys(attributes).length ? fields(Object.entries(attributes)) : h("p", { class: "dim" }, "none"),
      h("h3", {}, "Resource"), fields(Object.entries(resource)),
    ].filter(Boolean);
  }
}
