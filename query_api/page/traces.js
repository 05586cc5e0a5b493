// The traces of a place, newest or slowest first.

import { ask, now } from "./api.js";
import { h, say, visible } from "./dom.js";
import { clock, duration } from "./moments.js";
import { failure, freshness, nothing, total } from "./notices.js";
import { bounds, format } from "./state.js";

const PAGE = 100;
const MOST = 1000; // the API gives no more at once

export async function showTraces(main, state, go, signal, limit = PAGE) {
  const status = h("div", { class: "status" }, "Searching…");
  main.replaceChildren(status);
  main.setAttribute("aria-busy", "true");
  const [startTime, endTime] = bounds(state, now()).map((each) => new Date(each).toISOString());
  const [namespace, project, component] = state.place;
  const searchScope = { namespace, project, component, environment: state.environment };
  try {
    const answer = await ask("/api/v1alpha1/traces/query", { startTime, endTime, searchScope, limit, sortOrder: "desc" }, signal);
    draw(main, status, answer, state);
    if (answer.traces.length < answer.total && answer.traces.length < MOST) {
      const more = () => showTraces(main, state, go, signal, MOST);
      main.append(h("button", { type: "button", class: "more", onclick: more }, `Load up to ${MOST}`));
    }
  } catch (error) {
    if (!signal.aborted) main.replaceChildren(failure(error, () => showTraces(main, state, go, signal, limit)));
  }
  if (!signal.aborted) main.setAttribute("aria-busy", "false");
}

function draw(main, status, answer, state) {
  const shown = answer.traces.filter((trace) => trace.hasErrors || !state.hasErrors);
  if (state.isSlowest) shown.sort((a, b) => b.durationNs - a.durationNs);
  const count = `${shown.length.toLocaleString()} of ${total(answer.total, answer.isCapped)} ${answer.total === 1 ? "trace" : "traces"}`;
  status.replaceChildren(h("span", {}, h("strong", {}, count)), h("span", {}, `${answer.tookMs} ms`), freshness(answer.until));
  say(`${shown.length} traces`);
  if (!shown.length) {
    const advice = answer.traces.length ? "None of those loaded has an error." : "Choose a longer time or a larger place.";
    main.append(nothing("No traces here.", advice));
    return;
  }
  const slowest = Math.max(...shown.map((trace) => trace.durationNs), 1);
  const rows = shown.map((trace) => row(trace, slowest, state));
  main.append(h("ol", { class: "traces", "aria-label": "Traces" }, rows));
}

function row(trace, slowest, state) {
  const bar = h("span", { class: "bar" });
  bar.style.width = `${Math.max((trace.durationNs / slowest) * 100, 0.4)}%`;
  return h("li", { class: trace.hasErrors ? "failed" : null },
    h("a", { href: format({ ...state, view: "trace", id: trace.traceId, span: "" }), class: "trace" },
      h("time", { datetime: trace.startTime, title: trace.startTime }, clock(trace.startTime)),
      h("span", { class: "name" }, visible(trace.traceName || "(no name)"),
        trace.hasErrors && h("span", { class: "badge" }, "error")),
      h("span", { class: "dim count" }, `${trace.spanCount} ${trace.spanCount === 1 ? "span" : "spans"}`),
      h("span", { class: "track", "aria-hidden": "true" }, bar),
      h("span", { class: "took" }, duration(trace.durationNs))));
}
