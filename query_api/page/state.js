// What is shown, as the part of the address behind #: it can be sent to somebody, and back goes back.

export const RANGES = { "15m": 15 * 60, "1h": 3600, "24h": 24 * 3600 };
export const LEVELS = ["DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
const VIEWS = ["logs", "traces", "trace", "health"];

/** The state of a hash; what cannot be read is as if it were not there. */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [view, id = ""] = path.split("/");
  const given = new URLSearchParams(query);
  const text = (name) => given.get(name) ?? "";
  const range = text("range");
  return {
    view: VIEWS.includes(view) ? view : "logs",
    id: /^[0-9a-fA-F]{1,64}$/.test(id) ? id.toLowerCase() : "",
    place: [text("org"), text("project"), text("component")],
    environment: text("env"),
    range: range === "custom" || range in RANGES ? range : "1h",
    from: time(text("from")),
    to: time(text("to")),
    levels: LEVELS.filter((level) => text("level").split(",").includes(level)),
    phrase: text("q"),
    isLive: text("live") === "1" && range !== "custom",
    span: text("span"),
    hasErrors: text("errors") === "1",
    isSlowest: text("slowest") === "1",
  };
}

const time = (text) => (Number.isFinite(Date.parse(text)) ? new Date(text).toISOString() : "");

/** The hash of a state: only what differs from the defaults, and only what the view uses. */
export function format(state) {
  const [org, project, component] = state.place;
  const common = { org, project, component, env: state.environment, range: state.range === "1h" ? "" : state.range };
  if (state.range === "custom") Object.assign(common, { from: state.from, to: state.to });
  const own = {
    logs: { level: state.levels.join(","), q: state.phrase, live: state.isLive ? "1" : "" },
    traces: { errors: state.hasErrors ? "1" : "", slowest: state.isSlowest ? "1" : "" },
    trace: { span: state.span },
    health: {},
  }[state.view];
  const query = new URLSearchParams(Object.entries({ ...common, ...own }).filter(([, value]) => value));
  return `#/${state.view}${state.view === "trace" ? `/${state.id}` : ""}${query.size ? `?${query}` : ""}`;
}

/** First and last moment, unix milliseconds. */
export function bounds(state, nowMilliseconds) {
  if (state.range !== "custom") return [nowMilliseconds - RANGES[state.range] * 1000, nowMilliseconds];
  const to = Date.parse(state.to) || nowMilliseconds;
  return [Date.parse(state.from) || to - 3_600_000, to];
}

/** The same place and settings, a while around a moment. */
export function around(state, fromMilliseconds, toMilliseconds) {
  const [from, to] = [fromMilliseconds, toMilliseconds].map((each) => new Date(each).toISOString());
  return { ...state, range: "custom", from, to, isLive: false };
}
