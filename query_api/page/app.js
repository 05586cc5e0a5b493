// Which view is shown: the address says it, and every change goes through the address.

import { ask, openTokens } from "./api.js";
import { openControls, showControls } from "./controls.js";
import { byId } from "./dom.js";
import { showHealth } from "./health.js";
import { showLogs } from "./logs.js";
import { failure, keepAges, nothingReceived } from "./notices.js";
import { format, parse } from "./state.js";
import { showTrace } from "./trace.js";
import { showTraces } from "./traces.js";

const PLACES_MILLISECONDS = 60_000;
const TITLES = { logs: "Logs", traces: "Traces", trace: "Trace", health: "Health" };
const main = byId("main");
let places = null;
let view = new AbortController();

/** Show a state. `isReplacing`: without a step for the back button. */
function go(state, isReplacing = false) {
  const hash = format(state);
  if (hash !== location.hash) history[isReplacing ? "replaceState" : "pushState"](null, "", hash);
  show();
}

async function show() {
  view.abort();
  view = new AbortController();
  const { signal } = view;
  const state = parse(location.hash);
  document.title = `${TITLES[state.view]} · Headrace`;
  delete main.dataset.said;
  main.className = `view-${state.view}`;
  if (state.view === "health") showTabs(state);
  if (state.view === "health") return showHealth(main, signal);
  try {
    await readPlaces(signal);
  } catch (error) {
    if (!signal.aborted) main.replaceChildren(failure(error, show));
    return;
  }
  if (signal.aborted) return;
  if (!state.place[0] && places.found.length) {
    state.place = [places.found[0].organizationId, "", ""];
    history.replaceState(null, "", format(state));
  }
  showTabs(state);
  showControls(state, places.found);
  if (!state.place[0]) return main.replaceChildren(nothingReceived());
  ({ logs: showLogs, traces: showTraces, trace: showTrace })[state.view](main, state, go, signal);
}

async function readPlaces(signal) {
  if (places && places.found.length && Date.now() - places.at < PLACES_MILLISECONDS) return;
  const { places: found } = await ask("/api/places", null, signal);
  places = { found, at: Date.now() };
}

function showTabs(state) {
  for (const tab of document.querySelectorAll("nav a")) {
    const { view: name } = tab.dataset;
    tab.href = format({ ...state, view: name });
    const isHere = name === state.view || (name === "traces" && state.view === "trace");
    tab.toggleAttribute("aria-current", false);
    if (isHere) tab.setAttribute("aria-current", "page");
  }
  if (state.view === "health") byId("controls").hidden = true;
}

openTokens(() => {
  places = null;
  show();
});
openControls(go);
keepAges();
addEventListener("popstate", show); // also when a link or the address bar changes the part behind #
show();
