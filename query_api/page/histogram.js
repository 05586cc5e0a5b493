// How many of the loaded lines fall where in time, stacked by level, the worst at the bottom.

import { h, svg } from "./dom.js";
import { shortTime } from "./moments.js";
import { LEVELS } from "./state.js";

const COLUMNS = 90;
const HEIGHT = 48;
const ORDER = [...LEVELS].reverse();

/** Counts by column and level. Pure. */
export function count(entries, from, to) {
  const width = Math.max(to - from, 1) / COLUMNS;
  const columns = Array.from({ length: COLUMNS }, () => ({}));
  for (const { timestamp, logLevel } of entries) {
    const at = Math.floor((Date.parse(timestamp) - from) / width);
    const column = columns[Math.max(0, Math.min(at, COLUMNS - 1))];
    column[logLevel] = (column[logLevel] ?? 0) + 1;
  }
  return columns;
}

const sum = (column) => Object.values(column).reduce((total, each) => total + each, 0);

/** The drawing; a click on a column calls `choose(from, to)`. */
export function histogram(entries, from, to, choose) {
  const columns = count(entries, from, to);
  const most = Math.max(1, ...columns.map(sum));
  const width = (to - from) / COLUMNS;
  const drawn = columns.map((column, index) => {
    const start = from + index * width;
    return bar(column, index, most, shortTime(start, to - from), () => choose(start, start + width));
  });
  const label = `${entries.length} loaded lines from ${new Date(from).toLocaleString()} to ${new Date(to).toLocaleString()}, at most ${most} in a column`;
  const picture = svg("svg", { viewBox: `0 0 ${COLUMNS * 10} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label }, drawn);
  const ends = [from, (from + to) / 2, to].map((each) => h("span", {}, shortTime(each, to - from)));
  return h("figure", { class: "histogram" }, picture, h("figcaption", { "aria-hidden": "true" }, ends));
}

function bar(column, index, most, start, choose) {
  const all = sum(column);
  if (!all) return null;
  const known = ORDER.filter((level) => column[level]);
  const others = Object.keys(column).filter((level) => !ORDER.includes(level));
  let top = HEIGHT;
  const parts = [...known, ...others].map((level) => {
    const height = (column[level] / most) * HEIGHT;
    top -= height;
    return svg("rect", { x: index * 10 + 1, y: top, width: 8, height, class: `l-${level.toLowerCase()}` });
  });
  const told = [...known, ...others].map((level) => `${column[level]} ${level}`).join(", ");
  const target = svg("rect", { x: index * 10, y: 0, width: 10, height: HEIGHT, class: "target" });
  return svg("g", { onclick: choose }, svg("title", {}, `${start}: ${told}. Click to look closer.`), parts, target);
}
