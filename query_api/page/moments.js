// Times and durations, as numbers and as people read them.

const FRACTION = /^(.*?)(?:\.(\d{1,9}))?Z$/;

/** Unix nanoseconds of the API's RFC3339 in UTC, as a BigInt: a double would lose the last three digits. */
export function nanos(text) {
  const [, whole, fraction = ""] = FRACTION.exec(text) ?? ["", text];
  return BigInt(Date.parse(`${whole}Z`) || 0) * 1_000_000n + BigInt(fraction.padEnd(9, "0"));
}

export const iso = (unixNanos) => {
  const seconds = unixNanos / 1_000_000_000n;
  const rest = (unixNanos % 1_000_000_000n).toString().padStart(9, "0");
  return new Date(Number(seconds) * 1000).toISOString().replace(".000Z", `.${rest}Z`);
};

const two = (value) => String(value).padStart(2, "0");

/** 13:02:44.120 in local time, with the day before it if that is another one. */
export function clock(text) {
  const at = new Date(text);
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, "0")}`;
  return at.toDateString() === new Date().toDateString() ? time : `${day(at)} ${time}`;
}

export const day = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;

/** 13:02 or, over more than a day, 24 13:02. */
export function shortTime(milliseconds, spanMilliseconds) {
  const at = new Date(milliseconds);
  const time = `${two(at.getHours())}:${two(at.getMinutes())}`;
  if (spanMilliseconds < 600_000) return `${time}:${two(at.getSeconds())}`;
  return spanMilliseconds > 86_400_000 ? `${day(at).slice(5)} ${time}` : time;
}

/** What an input of type datetime-local takes. */
export function localInput(text) {
  const at = new Date(text);
  return `${day(at)}T${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** 850 µs, 12.3 ms, 1.25 s, 3 min 20 s */
export function duration(nanoseconds) {
  const number = Number(nanoseconds);
  if (number < 1e3) return `${number} ns`;
  if (number < 1e6) return `${digits(number / 1e3)} µs`;
  if (number < 1e9) return `${digits(number / 1e6)} ms`;
  if (number < 60e9) return `${digits(number / 1e9)} s`;
  return `${Math.floor(number / 60e9)} min ${Math.floor((number % 60e9) / 1e9)} s`;
}

const digits = (value) => String(Number(value.toPrecision(3)));

/** "3 s", "5 min", "2 h", "4 d" */
export function age(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`;
}
