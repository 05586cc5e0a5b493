// How current everything is, by organisation and signal.

import { ask } from "./api.js";
import { h, say, visible } from "./dom.js";
import { failure, freshness, nothingReceived } from "./notices.js";

const EVERY_MILLISECONDS = 5000;

export async function showHealth(main, signal) {
  main.setAttribute("aria-busy", "true");
  try {
    const [health, answer] = await Promise.all([healthOf(signal), ask("/api/freshness", null, signal)]);
    if (signal.aborted) return;
    main.replaceChildren(card(health), table(answer.freshness));
    if (!main.dataset.said) say(health.title);
    main.dataset.said = "1";
  } catch (error) {
    if (signal.aborted) return;
    main.replaceChildren(failure(error, () => showHealth(main, signal)));
  }
  main.setAttribute("aria-busy", "false");
  setTimeout(() => signal.aborted || showHealth(main, signal), EVERY_MILLISECONDS);
}

async function healthOf(signal) {
  try {
    await ask("/health", null, signal);
    return { isGood: true, title: "Healthy", text: "Questions are answered." };
  } catch (error) {
    if (signal.aborted) throw error;
    return { isGood: false, title: "Unhealthy", text: `${error.message}. ${error.advice}` };
  }
}

const card = (health) =>
  h("div", { class: `notice ${health.isGood ? "good" : "bad"}` }, h("p", {}, h("strong", {}, health.title)), h("p", {}, health.text));

function table(rows) {
  if (!rows.length) return nothingReceived();
  const most = Math.max(1, ...rows.map((row) => row.lastMinuteItems));
  const head = ["Organisation", "Signal", "Freshness", "Last minute"].map((name) => h("th", { scope: "col" }, name));
  return h("table", { class: "freshness" },
    h("caption", {}, "Until when everything received can be read, and what was received in the last whole minute"),
    h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows.map((row) => line(row, most))));
}

function line(row, most) {
  const bar = h("span", { class: "bar" });
  bar.style.width = `${(row.lastMinuteItems / most) * 100}%`;
  return h("tr", {},
    h("th", { scope: "row" }, visible(row.organizationId)), h("td", {}, row.signal), h("td", {}, freshness(row.completeUntil)),
    h("td", {}, h("span", { class: "items" }, h("span", {}, row.lastMinuteItems?.toLocaleString() ?? "\u2013"), h("span", { class: "track", "aria-hidden": "true" }, bar))));
}
