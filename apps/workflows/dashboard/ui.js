// The parts that views are made of.

import { Problem, link } from "./api.js";
import { h, keep } from "./dom.js";
import { may, whoIs } from "./session.js";
import { exactly, millisOf } from "./time.js";

const ICONS = {
  ok: ["M4.5 8.4 7 10.9l4.6-5.3"],
  failed: ["m5.3 5.3 5.4 5.4", "m10.7 5.3-5.4 5.4"],
  running: ["M6.6 5.2 10.9 8l-4.3 2.8z"],
  waiting: ["M8 4.9V8.2l2.2 1.5"],
  queued: ["M5 8h.01", "M8 8h.01", "M11 8h.01"],
  cancelled: ["M5.2 8h5.6"],
  skipped: ["m5 5.5 3 2.5-3 2.5z", "M10.6 5.4v5.2"],
  paused: ["M6.2 5.4v5.2", "M9.8 5.4v5.2"],
  unknown: ["M6.1 6.2a1.95 1.95 0 1 1 2.7 1.8c-.5.3-.8.6-.8 1.2", "M8 11.2h.01"],
  fired: ["M6.6 5.2 10.9 8l-4.3 2.8z"],
  missed: ["M8 4.8v4", "M8 11.2h.01"],
  held: ["M6.2 5.4v5.2", "M9.8 5.4v5.2"],
  idle: [],
};
const WORDS = {
  ok: "Succeeded", failed: "Failed", running: "Running", waiting: "Waiting", queued: "Queued",
  cancelled: "Cancelled", skipped: "Skipped", idle: "Idle", unknown: "Unknown", paused: "Paused",
};

const AGAIN_AFTER = 4000;
const MANY = 14; // lines from which a text has a height of its own

const OPEN = ["queued", "pending", "running"];

/** Whether an execution may still change. */
export function isOpen(execution) {
  return OPEN.includes(execution.status);
}

/** Whether it is handed to the runners and, as far as is known, none has begun it. */
export function isAwaited(execution) {
  return execution.status === "pending" && !execution.nextAttemptAt;
}

/** What an execution's status is called here: pending is waiting for a retry, or queued. */
export function kindOf(execution) {
  if (execution.status === "pending") return execution.nextAttemptAt ? "waiting" : "queued";
  return execution.status;
}

export function wordOf(kind) {
  return WORDS[kind] ?? kind;
}

/** The sign of a status: told apart by its shape, not by its colour alone. */
export function sign(kind, size = 18) {
  const paths = ICONS[kind] ?? ICONS.unknown;
  return h("svg", { class: `sign sign-${kind}`, viewBox: "0 0 16 16", width: size, height: size, "aria-hidden": "true" },
    h("circle", { cx: 8, cy: 8, r: 7 }),
    paths.map((d) => h("path", { d })));
}

export function badge(kind, word = wordOf(kind)) {
  return h("span", { class: `badge kind-${kind}` }, sign(kind), h("span", null, word));
}

/** The recent results, oldest first, on a fixed number of places so that nothing moves. */
export function strip(executions, places = 12) {
  const shown = executions.slice(0, places).reverse();
  const counts = {};
  for (const each of shown) counts[kindOf(each)] = (counts[kindOf(each)] ?? 0) + 1;
  const words = Object.entries(counts).map(([kind, count]) => `${count} ${wordOf(kind).toLowerCase()}`);
  const label = shown.length ? `Last ${shown.length}: ${words.join(", ")}` : "No executions yet";
  const empty = Array.from({ length: places - shown.length }, (_, place) => h("span", { class: "cell cell-none", key: `none-${place}` }));
  return h("span", { class: "strip", role: "img", "aria-label": label, title: label }, empty,
    shown.map((each) => h("span", { class: `cell cell-${kindOf(each)}`, key: each.executionId })));
}

export function button(label, onClick, { kind = "", icon = null, disabled = false, title = null, key, ...more } = {}) {
  return h("button", { type: "button", class: `button ${kind}`.trim(), disabled, title, key, on: { click: onClick }, ...more }, icon, label);
}

/** A button that puts `text()` where it can be pasted; absent where the browser does not let pages do so. */
export function copier(text, label = "Copy") {
  if (!navigator.clipboard) return null;
  return button(label, async (event) => {
    const pressed = event.currentTarget;
    try {
      await navigator.clipboard.writeText(text());
    } catch {
      toast("The browser did not let this page copy. Select the text and copy it by hand.", { kind: "bad" });
      return;
    }
    pressed.textContent = "Copied";
    await keep(pressed, 1600);
    pressed.textContent = label;
  }, { kind: "plain tiny" });
}

/** A text that may be long: of its own height, with a way to copy it. */
export function block(text, label) {
  const lines = text.split("\n").length;
  const isLong = lines > MANY;
  return h("div", { class: "block" },
    isLong ? h("div", { class: "block-head" }, h("span", { class: "quiet" }, plural(lines, "line")), copier(() => text)) : null,
    h("pre", { class: `log ${isLong ? "log-long" : ""}`, tabindex: isLong ? "0" : null, role: isLong ? "region" : null, "aria-label": isLong ? label : null }, text));
}

export function empty(title, text, ...actions) {
  return h("div", { class: "empty" }, h("h2", null, title), h("p", null, text), actions.length ? h("div", { class: "actions" }, actions) : null);
}

/** An error, with what to do next. */
export function trouble(error, retry) {
  const problem = error instanceof Problem ? error : new Problem(0, { title: "This page failed", detail: String(error) });
  const isAway = problem.status === 0 && error instanceof Problem;
  return h("div", { class: "notice notice-bad", role: "alert" }, sign("failed"),
    h("div", null, h("strong", null, problem.title), h("p", null, problem.message, isAway && retry ? " This page tries again by itself." : ""),
      problem.errors.length ? h("ul", null, problem.errors.map((each) => h("li", null, h("code", null, each.field), ` ${each.message}`))) : null,
      retry ? button("Try again", retry, { kind: "small", "data-again": isAway ? "yes" : null }) : null));
}

/** Try again what could not be reached, wherever the page shows that. */
function tryAgain() {
  if (document.hidden) return;
  for (const each of document.querySelectorAll("[data-again='yes']")) {
    each.dataset.again = "asked"; // until it is drawn anew: what does not answer is not asked over and over
    each.click();
  }
}
setInterval(tryAgain, AGAIN_AFTER);
addEventListener("online", tryAgain);

/** What stands in the place of a view that needs more than whoever is logged in may do. */
export function forbidden(scope) {
  return h("div", { class: "notice" }, sign("paused"),
    h("div", null, h("strong", null, `This is for the scope ${scope}`), h("p", null, `You are logged in as ${whoIs().name} with the scope ${whoIs().scope}. Log out, and in again with a token of scope ${scope}.`)));
}

/** A row of links between parts of a view; `current` is the address of the one that is shown. */
export function parts(label, links, current) {
  return h("nav", { class: "parts", "aria-label": label, key: "parts" }, links.filter(([, , scope]) => !scope || may(scope)).map(([href, word]) => h("a", { href, key: href, "aria-current": href === current ? "page" : null }, word)));
}

/** Rows in the place of what is being read, so that nothing jumps when it is there. */
export function loading(rows = 6) {
  return h("div", { class: "loading", "aria-busy": "true", "aria-label": "Loading" }, Array.from({ length: rows }, () => h("div", { class: "ghost" })));
}

export function toast(text, { kind = "ok", link: to = null } = {}) {
  const node = h("div", { class: `toast toast-${kind}` }, sign(kind === "ok" ? "ok" : "failed"), h("span", null, text), to ? h("a", { href: to.href }, to.text) : null);
  document.getElementById("toasts").append(node);
  setTimeout(() => node.remove(), kind === "ok" ? 5000 : 12_000);
}

/** Do something that may be refused, and say so where it is. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    const to = error.body?.executionId ? { href: link`#/executions/${error.body.executionId}`, text: "Open it" } : null;
    toast(error.message, { kind: "bad", link: to });
    return null;
  }
}

export function shortId(id) {
  return id.slice(-8);
}

/** A link to another execution. */
export function other(id) {
  return h("a", { href: link`#/executions/${id}`, class: "mono", key: id }, `…${shortId(id)}`);
}

export function crumbs(...path) {
  return h("nav", { class: "crumbs", "aria-label": "Where this is", key: "crumbs" }, path.filter(Boolean).map((each, place) => [place ? h("span", { "aria-hidden": "true" }, "/") : null, each]));
}

/** What starts a workflow, in words. */
export function triggerWords(trigger) {
  switch (trigger.type) {
    case "manual": return "By hand";
    case "periodic": return `Every ${exactly(millisOf(trigger.interval))}`;
    case "cron": return `Cron ${[trigger.expression].flat().join(", ")}${trigger.timezone && trigger.timezone !== "UTC" ? ` (${trigger.timezone})` : ""}`;
    case "once": return "Once";
    default: return trigger.type;
  }
}

/** Whether a workflow that is asked to run now would be turned away. */
export function isTaken(workflow) {
  return ["busy", "pending"].includes(workflow.trigger.status) && (workflow.overlap?.policy ?? "skip") === "skip";
}

export function isByHand(workflow) {
  return workflow.trigger.type === "manual" || workflow.trigger.allowManual;
}

export const TAKEN = "An execution is open; it can run again when that has ended.";

export function heading(title, ...rest) {
  return h("div", { class: "head", key: "head" }, h("h1", { tabindex: "-1" }, title), rest);
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString()} ${count === 1 ? one : many}`;
}

/** What an execution waits for, of its `waitingFor`. */
export function awaitedWords({ signal, executions }) {
  return signal ? `Waits for signal ${signal}` : `Waits for the end of ${plural(executions, "execution")}`;
}

export const CAUSES = { manual: "By hand", schedule: "On schedule", backfill: "By backfill", event: "By event", webhook: "By webhook", workflow: "By workflow" };
