// What is said around results: how many, how fresh, what is missing, what went wrong.

import { now } from "./api.js";
import { h } from "./dom.js";
import { age } from "./moments.js";

/** An error with its request id and what to do. */
export function failure(error, retry) {
  const title = error.status ? `${error.status}: ${error.message}` : error.message;
  return h("div", { class: "notice bad", role: "alert" },
    h("p", {}, h("strong", {}, title)),
    h("p", {}, error.advice ?? "Reload the page. If it comes again, it is a defect of this page."),
    h("p", { class: "actions" },
      h("button", { type: "button", onclick: retry }, "Try again"),
      error.requestId && h("span", { class: "dim" }, "request id ", h("code", {}, error.requestId))));
}

/** Nothing was found, and what to do about it. */
export function nothing(title, ...lines) {
  return h("div", { class: "notice" }, h("p", {}, h("strong", {}, title)), lines.map((line) => h("p", {}, line)));
}

/** For a place that nothing has come from, or a server that has received nothing. */
export const nothingReceived = () =>
  nothing("Nothing has been received yet.", [
    "Send OTLP to port 4317 (gRPC) or 4318 (HTTP); ", h("code", {}, "headrace demo"), " sends a small shop's.",
  ], "If others see data here, your roles open no place: ask for one.");

/** "complete until 3 s ago", kept current by `tick`. */
export function freshness(until) {
  if (!until) return h("span", { class: "until" }, "freshness not known");
  return h("span", { class: "until", "data-until": until, title: `Everything received before ${until} is in here.` }, told(until));
}

const told = (until) => `complete until ${age(now() - Date.parse(until))} ago`;

function tick() {
  for (const each of document.querySelectorAll("[data-until]")) {
    each.textContent = told(each.dataset.until);
    each.classList.toggle("late", now() - Date.parse(each.dataset.until) > 120_000);
  }
}

/** From now on; what is shown ages by itself. */
export const keepAges = () => setInterval(tick, 1000);

/** "1,234" or, where counting stopped, "1,000,000 or more". */
export const total = (count, isCapped) => `${count.toLocaleString()}${isCapped ? " or more" : ""}`;
