// Instants and durations as people read them; relative times are kept up to date by one clock for the whole page.

import { h } from "./dom.js";

const exact = new Intl.DateTimeFormat(undefined, {
  weekday: "short", year: "numeric", month: "short", day: "numeric",
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, timeZoneName: "short",
});
const ZONE = exact.resolvedOptions().timeZone;
const day = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });

const UNITS = [["d", 86_400], ["h", 3600], ["min", 60]];

/** A duration in milliseconds to the last second and its fraction, as in 1 d 1 h or 1.5 s: for what a definition says. */
export function exactly(ms) {
  let rest = ms / 1000;
  const parts = [];
  for (const [unit, size] of UNITS) {
    const count = Math.floor(rest / size);
    if (count) parts.push(`${count} ${unit}`);
    rest -= count * size;
  }
  const seconds = Number(rest.toFixed(3));
  return seconds || !parts.length ? [...parts, `${seconds} s`].join(" ") : parts.join(" ");
}

/** A duration in milliseconds in its two largest units, as in 8 ms, 2.4 s, 3 min 5 s, 2 h 10 min, 4 d 6 h. */
export function duration(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(ms % 1000 ? 1 : 0)} s`;
  const s = Math.round(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return s % 60 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${s / 60} min`;
  if (s < 86_400) return s % 3600 >= 60 ? `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min` : `${Math.floor(s / 3600)} h`;
  const hours = Math.floor((s % 86_400) / 3600);
  return `${Math.floor(s / 86_400)} d${hours ? ` ${hours} h` : ""}`;
}

/** The milliseconds of a duration as definitions write it: 10s, 5m, 1h or 1d. */
export function millisOf(text) {
  const [, count, unit] = /^(\d+)([smhd])$/.exec(text);
  return Number(count) * { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }[unit];
}

const MONTH = 30 * 86_400_000;

function coarse(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h`;
  if (s * 1000 < MONTH) return `${Math.floor(s / 86_400)} d`;
  return null;
}

const WORDS = {
  ago(at, now) {
    const ms = now - at;
    if (ms < 0) return WORDS.until(at, now);
    if (ms < 1500) return "just now";
    const text = coarse(ms);
    return text ? `${text} ago` : day.format(at);
  },
  until(at, now) {
    const ms = at - now;
    if (ms <= 0) return "due now";
    // A countdown shows seconds as long as they mean something.
    if (ms < 3_600_000 && ms >= 60_000) return `in ${Math.floor(ms / 60_000)} min ${String(Math.floor((ms % 60_000) / 1000)).padStart(2, "0")} s`;
    const text = ms >= 3_600_000 && ms < MONTH ? duration(ms) : coarse(Math.ceil(ms / 1000) * 1000);
    return text ? `in ${text}` : day.format(at);
  },
  since(at, now) {
    return duration(Math.floor(Math.max(0, now - at) / 1000) * 1000 || 0).replace("0 ms", "0 s");
  },
};

/** An instant: relative, the exact one on hover. `mode` is ago, until or since (a running duration). */
export function time(instant, mode = "ago", attributes = {}) {
  if (!instant) return h("span", { class: "nothing" }, "–");
  const at = Date.parse(instant);
  const words = WORDS[mode](at, Date.now());
  return h("time", { datetime: instant, title: exact.format(at), "data-live": mode, ...attributes }, words);
}

/** How long something took or has been taking. */
export function took(from, to) {
  if (!from) return h("span", { class: "nothing" }, "–");
  if (!to) return time(from, "since");
  return h("span", { title: `${exact.format(Date.parse(from))} to ${exact.format(Date.parse(to))}` }, duration(Date.parse(to) - Date.parse(from)));
}

const SHORT = { weekday: "short", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" };
const short = new Intl.DateTimeFormat(undefined, SHORT);
const shortWithYear = new Intl.DateTimeFormat(undefined, { ...SHORT, year: "numeric" });

/** An instant as it is written in lists of them, with its year where that is another one; the exact one on hover. */
export function shortly(instant) {
  const at = new Date(instant);
  const format = at.getFullYear() === new Date().getFullYear() ? short : shortWithYear;
  return h("time", { datetime: instant, title: exact.format(at) }, format.format(at));
}

/** The time zone in which instants are written, to stand beside them. */
export function zone() {
  return h("span", { class: "quiet small-text", title: "The time zone of your browser" }, ZONE);
}

setInterval(() => {
  if (document.hidden) return;
  const now = Date.now();
  for (const node of document.querySelectorAll("time[data-live]")) {
    const words = WORDS[node.dataset.live](Date.parse(node.dateTime), now);
    if (node.textContent !== words) node.textContent = words;
  }
}, 1000);
