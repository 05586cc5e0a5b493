// The form above the views: place, environment, time, and what each view has of its own.

import { now } from "./api.js";
import { byId, h, say } from "./dom.js";
import { localInput } from "./moments.js";
import { bounds, LEVELS } from "./state.js";

const MOST = 60; // options shown at once
let state = null;
let places = [];
let go = () => {};

/** Every place once, organisations before their projects before their components; `id` and `names` in that order. */
export function optionsOf(found) {
  const options = new Map();
  for (const place of found) {
    const ids = [place.organizationId, place.projectId, place.componentId];
    const names = [place.organizationName, place.projectName, place.componentName];
    for (const depth of [1, 2, 3]) {
      if (!ids[depth - 1]) continue;
      const id = ids.map((each, index) => (index < depth ? each : ""));
      options.set(JSON.stringify(id), { id, names: names.slice(0, depth).map((name, index) => name || ids[index]) });
    }
  }
  return [...options.values()].sort((a, b) => (a.names.join("\u0000") < b.names.join("\u0000") ? -1 : 1));
}

const within = (place, [org, project, component]) =>
  place.organizationId === org && (!project || place.projectId === project) && (!component || place.componentId === component);

const nameOf = (id) => {
  const known = optionsOf(places).find((option) => JSON.stringify(option.id) === JSON.stringify(id));
  return (known?.names ?? id.filter(Boolean)).join(" / ");
};

/** Wire the form once; `navigate(state, isReplacing)` shows another state. */
export function openControls(navigate) {
  go = navigate;
  byId("controls").addEventListener("submit", (event) => {
    event.preventDefault();
    go(current());
  });
  openPlaces();
  byId("environment").addEventListener("change", (event) => go({ ...current(), environment: event.target.value }));
  for (const radio of document.getElementsByName("range")) radio.addEventListener("change", () => chooseRange(radio.value));
  for (const name of ["from", "to"]) byId(name).addEventListener("change", chooseTimes);
  byId("phrase").addEventListener("input", later(search, 450));
  byId("levels").append(...LEVELS.map(levelChip));
  toggles("tail", "isLive");
  toggles("errors", "hasErrors");
  toggles("slowest", "isSlowest");
}

function later(action, milliseconds) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, milliseconds);
  };
}

/** The state with what is typed and not yet searched for: pressing something else must not lose it. */
const current = () => ({ ...state, phrase: byId("phrase").value });

function search() {
  if (state.view === "logs" && byId("phrase").value !== state.phrase) go(current(), true);
}

function levelChip(level) {
  const toggle = () => {
    const chosen = new Set(state.levels);
    if (!chosen.delete(level)) chosen.add(level);
    go({ ...current(), levels: LEVELS.filter((each) => chosen.has(each)) });
  };
  return h("button", { type: "button", class: `chip l-${level.toLowerCase()}`, "data-level": level, onclick: toggle }, level);
}

function toggles(id, name) {
  byId(id).addEventListener("click", () => {
    const changed = { ...current(), [name]: !state[name] };
    go(name === "isLive" && changed.isLive && state.range === "custom" ? { ...changed, range: "15m" } : changed);
  });
}

function chooseRange(range) {
  const [from, to] = bounds(state, now()).map((each) => new Date(each).toISOString());
  go({ ...current(), range, from, to, isLive: state.isLive && range !== "custom" });
}

function chooseTimes() {
  const [from, to] = ["from", "to"].map((name) => new Date(byId(name).value));
  if (Number.isNaN(+from) || Number.isNaN(+to)) return;
  const isBefore = from <= to;
  byId("to").setCustomValidity(isBefore ? "" : "This is before the first time.");
  byId("to").reportValidity();
  if (isBefore) go({ ...current(), from: from.toISOString(), to: to.toISOString() });
}

/** The form as the state has it. */
export function showControls(shown, found) {
  [state, places] = [shown, found];
  byId("controls").hidden = !["logs", "traces"].includes(shown.view);
  byId("log-controls").hidden = shown.view !== "logs";
  byId("trace-controls").hidden = shown.view !== "traces";
  byId("where").value = nameOf(shown.place);
  byId("environment").replaceChildren(...environments());
  byId("environment").value = shown.environment;
  byId(`r${shown.range}`).checked = true;
  byId("custom").hidden = shown.range !== "custom";
  [byId("from").value, byId("to").value] = bounds(shown, now()).map(localInput);
  if (byId("phrase").value !== shown.phrase) byId("phrase").value = shown.phrase;
  for (const chip of byId("levels").children) press(chip, shown.levels.includes(chip.dataset.level));
  press(byId("tail"), shown.isLive);
  press(byId("errors"), shown.hasErrors);
  press(byId("slowest"), shown.isSlowest);
}

const press = (button, isPressed) => button.setAttribute("aria-pressed", String(isPressed));

function environments() {
  const known = new Map([["", "Any"]]);
  for (const place of places) {
    if (place.environmentId && within(place, state.place)) known.set(place.environmentId, place.environmentName);
  }
  if (state.environment && !known.has(state.environment)) known.set(state.environment, state.environment);
  return [...known].map(([id, name]) => h("option", { value: id }, name || id));
}

/** The combobox of places (WAI-ARIA: list with aria-activedescendant). */
function openPlaces() {
  const input = byId("where");
  const list = byId("where-list");
  let shown = [];
  let active = -1;

  const close = () => {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const choose = (option) => {
    close();
    input.value = option.names.join(" / ");
    if (JSON.stringify(option.id) !== JSON.stringify(state.place)) go({ ...current(), place: option.id, environment: "" });
  };
  const activate = (index) => {
    active = shown.length ? (index + shown.length) % shown.length : -1;
    [...list.children].forEach((item, at) => item.setAttribute("aria-selected", String(at === active)));
    list.children[active]?.scrollIntoView({ block: "nearest" });
    if (active >= 0) input.setAttribute("aria-activedescendant", `place-${active}`);
  };
  const open = (typed) => {
    const words = typed.toLowerCase().split(/[\s/]+/).filter(Boolean);
    const matches = optionsOf(places).filter((option) => {
      const name = option.names.join(" / ").toLowerCase();
      return words.every((word) => name.includes(word));
    });
    shown = matches.slice(0, MOST);
    list.replaceChildren(...shown.map((option, index) => item(option, index, choose)));
    const rest = matches.length - shown.length;
    if (!shown.length) list.append(h("li", { class: "dim" }, "No place has this in its name."));
    else if (rest) list.append(h("li", { class: "dim" }, `${rest} more: type to narrow`));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    say(`${matches.length} places`);
    activate(words.length ? 0 : shown.findIndex((option) => JSON.stringify(option.id) === JSON.stringify(state.place)));
  };

  input.addEventListener("focus", () => input.select());
  input.addEventListener("click", () => open(""));
  input.addEventListener("input", () => open(input.value));
  input.addEventListener("blur", () => {
    close();
    input.value = nameOf(state.place);
  });
  input.addEventListener("keydown", (event) => {
    const isOpen = !list.hidden;
    if (event.key === "Escape") {
      close();
      input.value = nameOf(state.place);
      input.select();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!isOpen) open("");
      else activate(active + (event.key === "ArrowDown" ? 1 : -1));
    } else if (event.key === "Enter" && isOpen) {
      event.preventDefault();
      if (shown[active]) choose(shown[active]);
    }
  });
}

function item(option, index, choose) {
  const parents = option.names.slice(0, -1).map((name) => `${name} / `).join("");
  const pick = (event) => {
    event.preventDefault(); // the focus stays in the input
    choose(option);
  };
  const properties = { id: `place-${index}`, role: "option", class: `depth-${option.names.length}`, onmousedown: pick };
  return h("li", properties, h("span", { class: "dim" }, parents), option.names.at(-1));
}
