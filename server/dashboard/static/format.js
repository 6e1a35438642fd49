/** Figures and times as people read them. */

const FIGURE = new Intl.NumberFormat("en", { maximumSignificantDigits: 6, useGrouping: false });
const COUNT = new Intl.NumberFormat("en");
const ONE_DIGIT = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const SPANS = [
  [86_400, "day"],
  [3600, "hour"],
  [60, "minute"],
  [1, "second"],
];
const SIZES = ["B", "KB", "MB", "GB", "TB"];

/** A cell of a table: numbers with six digits, nothing as a dash. */
export function cell(value) {
  if (value == null) return "–";
  if (typeof value === "number")
    return Number.isInteger(value) ? String(value) : FIGURE.format(value);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** A whole number with its thousands told apart. */
export function count(number) {
  return COUNT.format(number);
}

/** `1 job`, `2 jobs`. */
export function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** Seconds since 1970 as date and time here. */
export function moment(seconds) {
  return seconds == null ? null : MOMENT.format(seconds * 1000);
}

/** How long ago, such as `5 minutes ago`. */
export function ago(seconds, now = Date.now() / 1000) {
  const passed = Math.max(0, now - seconds);
  const [span, unit] = SPANS.find(([each]) => passed >= each) ?? [1, "second"];
  return RELATIVE.format(-Math.floor(passed / span), unit);
}

/** How long something took, in the unit that fits. */
export function duration(seconds) {
  if (seconds < 0.9995) return `${Math.max(0, Math.round(seconds * 1000))} ms`;
  if (seconds < 99.5) return `${ONE_DIGIT.format(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 100
    ? `${minutes} min ${Math.round(seconds % 60)} s`
    : `${ONE_DIGIT.format(seconds / 3600)} h`;
}

/** How many bytes, in the unit that fits. */
export function bytes(number) {
  const power = number > 0 ? Math.min(SIZES.length - 1, Math.floor(Math.log2(number) / 10)) : 0;
  return `${ONE_DIGIT.format(number / 1024 ** power)} ${SIZES[power]}`;
}

/** A share as a whole number of percent. */
export function percent(share) {
  return `${Math.floor(share * 100)} %`;
}
