// Elements from values. What comes from the store becomes text here and nowhere becomes markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element. Properties: `on…` is a listener, null and false are left out; children: texts, elements, null. */
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** For screen readers. */
export function say(text) {
  byId("said").textContent = text;
}

const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;
const DIRECTION = /[\u202a-\u202e\u2066-\u2069]/g; // what can make a line look like another one
const COLOUR = /\u001b\[[0-9;]*m/g;

/** Text with characters that nobody would see made visible. */
export function visible(text) {
  const picture = (code) => (code < 0x20 ? String.fromCharCode(0x2400 + code) : code === 0x7f ? "\u2421" : escaped(code));
  return text
    .replace(CONTROL, (character) => picture(character.charCodeAt(0)))
    .replace(DIRECTION, (character) => escaped(character.charCodeAt(0)));
}

const escaped = (code) => `[U+${code.toString(16).toUpperCase().padStart(4, "0")}]`;

/** The start of a text on one line, without terminal colours. */
export function oneLine(text, most = 400) {
  const start = text.slice(0, most * 4).replace(COLOUR, "").replace(/\s*\n\s*/g, " ⏎ ");
  return visible(start.length > most ? `${start.slice(0, most)}…` : start);
}

/** A button that copies, where the browser allows it (https or this machine). */
export function copyButton(label, text) {
  if (!navigator.clipboard) return null;
  return h("button", { type: "button", class: "quiet", onclick: (event) => copy(event.currentTarget, text) }, label);
}

async function copy(button, text) {
  const label = button.textContent;
  await navigator.clipboard.writeText(text).then(() => (button.textContent = "Copied"), () => (button.textContent = "Not allowed"));
  setTimeout(() => (button.textContent = label), 1200);
}

/** Names and values as a definition list; empty values are left out. */
export function fields(pairs) {
  const shown = pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return h("dl", { class: "fields" }, shown.map(([name, value]) => [
    h("dt", {}, visible(name)),
    h("dd", {}, value instanceof Node ? value : longText(String(value))),
  ]).flat());
}

const SHORT = 20_000;

/** All of a text; a very long one on demand, so that a megabyte does not stop the page. */
export function longText(text) {
  const shown = h("span", { class: "text", dir: "auto" }, visible(text.slice(0, SHORT)));
  if (text.length <= SHORT) return shown;
  const size = Math.round(text.length / 1000).toLocaleString();
  const more = h("button", { type: "button", class: "quiet", onclick: () => {
    shown.textContent = visible(text);
    more.remove();
  } }, `Show all ${size} thousand characters`);
  return h("span", {}, shown, " ", more);
}

/** Arrow keys through elements: one of them is in the tab order. Listens on their container. */
export function roving(container, selector, onKey = () => false) {
  container.addEventListener("focusin", (event) => {
    const current = event.target.closest(selector);
    if (!current) return;
    container.querySelectorAll(`${selector}[tabindex="0"]`).forEach((each) => (each.tabIndex = -1));
    current.tabIndex = 0;
  });
  container.addEventListener("keydown", (event) => {
    const current = event.target.closest(selector);
    if (!current || event.target !== current || event.altKey || event.ctrlKey || event.metaKey) return;
    const all = [...container.querySelectorAll(selector)];
    const at = all.indexOf(current);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (next === undefined ? !onKey(event, current) : false) return;
    event.preventDefault();
    if (next !== undefined) all[Math.max(0, Math.min(next, all.length - 1))].focus();
  });
}
