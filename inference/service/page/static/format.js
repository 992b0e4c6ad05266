// Times in the reader's zone, durations, shares and scores as text.

const TIME = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

/** The reader's zone, by name. */
export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** A time of the service (UTC, ISO 8601) in the reader's zone; of today the clock alone. */
export function time(iso) {
  if (!iso) return "";
  const at = new Date(iso);
  return DAY.format(at) === DAY.format(new Date()) ? CLOCK.format(at) : TIME.format(at);
}

/** The same with its day, always. */
export function fullTime(iso) {
  return iso ? TIME.format(new Date(iso)) : "";
}

/** The day alone. */
export function day(iso) {
  return DAY.format(new Date(iso));
}

/** Seconds as a person says them. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const whole = Math.max(Math.round(seconds), 0);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** Seconds since a time. */
export function since(iso) {
  return (Date.now() - new Date(iso).getTime()) / 1000;
}

/** A score: three places, as in the report. */
export function score(value) {
  return value.toFixed(3);
}

/** With its sign. */
export function signed(value) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
}

/** A share as percent, without places but where it is small. */
export function percent(part, whole) {
  if (!whole) return "–";
  const share = (100 * part) / whole;
  return share > 0 && share < 10 ? share.toFixed(1) : share.toFixed(0);
}
