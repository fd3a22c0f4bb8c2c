// The parts that views are made of.

import { h } from "./dom.js";
import { Problem } from "./api.js";

const ICONS = {
  ok: ["M4.5 8.4 7 10.9l4.6-5.3"],
  failed: ["m5.3 5.3 5.4 5.4", "m10.7 5.3-5.4 5.4"],
  running: ["M6.6 5.2 10.9 8l-4.3 2.8z"],
  waiting: ["M8 4.9V8.2l2.2 1.5"],
  queued: ["M5 8h.01", "M8 8h.01", "M11 8h.01"],
  cancelled: ["M5.2 8h5.6"],
  skipped: ["m5 5.5 3 2.5-3 2.5z", "M10.6 5.4v5.2"],
  idle: [],
};
const WORDS = {
  ok: "Succeeded", failed: "Failed", running: "Running", waiting: "Waiting", queued: "Queued",
  cancelled: "Cancelled", skipped: "Skipped", idle: "Idle", unknown: "Unknown", paused: "Paused",
};

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
  const paths = ICONS[kind] ?? ICONS.queued;
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

export function button(label, onClick, { kind = "", icon = null, disabled = false, title = null, key } = {}) {
  return h("button", { type: "button", class: `button ${kind}`, disabled, title, key, on: { click: onClick } }, icon, label);
}

export function empty(title, text, ...actions) {
  return h("div", { class: "empty" }, h("h2", null, title), h("p", null, text), actions.length ? h("div", { class: "actions" }, actions) : null);
}

/** An error, with what to do next. */
export function trouble(error, retry) {
  const problem = error instanceof Problem ? error : new Problem(0, { title: "This page failed", detail: String(error) });
  return h("div", { class: "notice notice-bad", role: "alert" }, sign("failed"),
    h("div", null, h("strong", null, problem.title), h("p", null, problem.message),
      problem.errors.length ? h("ul", null, problem.errors.map((each) => h("li", null, h("code", null, each.field), ` ${each.message}`))) : null,
      retry ? button("Try again", retry, { kind: "small" }) : null));
}

/** Rows in the place of what is being read, so that nothing jumps when it is there. */
export function loading(rows = 6) {
  return h("div", { class: "loading", "aria-busy": "true", "aria-label": "Loading" }, Array.from({ length: rows }, () => h("div", { class: "ghost" })));
}

export function toast(text, { kind = "ok", link = null } = {}) {
  const node = h("div", { class: `toast toast-${kind}` }, sign(kind === "ok" ? "ok" : "failed"), h("span", null, text), link ? h("a", { href: link.href }, link.text) : null);
  document.getElementById("toasts").append(node);
  setTimeout(() => node.remove(), kind === "ok" ? 5000 : 12_000);
}

/** Do something that may be refused, and say so where it is. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    const link = error.body?.executionId ? { href: `#/executions/${error.body.executionId}`, text: "Open it" } : null;
    toast(error.message, { kind: "bad", link });
    return null;
  }
}

/** Ask before something that cannot be undone; resolves to whether it was confirmed. */
export function confirmed(title, text, yes) {
  return new Promise((resolve) => {
    const close = (answer) => {
      dialog.close();
      dialog.remove();
      resolve(answer);
    };
    const dialog = h("dialog", { "aria-labelledby": "ask-title", on: { cancel: () => close(false) } },
      h("h2", { id: "ask-title" }, title), h("p", null, text),
      h("div", { class: "actions" }, button("Keep it", () => close(false)), button(yes, () => close(true), { kind: "danger" })));
    document.body.append(dialog);
    dialog.showModal();
  });
}

export function shortId(id) {
  return id.slice(-8);
}

/** What starts a workflow, in words. */
export function triggerWords(trigger) {
  const length = (text) => ({ s: "s", m: " min", h: " h" })[text.slice(-1)] ? `${text.slice(0, -1)}${{ s: " s", m: " min", h: " h" }[text.slice(-1)]}` : text;
  switch (trigger.type) {
    case "manual": return "By hand";
    case "periodic": return `Every ${length(trigger.interval)}`;
    case "cron": return `Cron ${[trigger.expression].flat().join(", ")}${trigger.timezone && trigger.timezone !== "UTC" ? ` (${trigger.timezone})` : ""}`;
    case "once": return "Once";
    default: return trigger.type;
  }
}

/** The milliseconds between two ticks of a periodic trigger; nothing for others. */
export function intervalOf(trigger) {
  const parts = /^(\d+)([smh])$/.exec(trigger.interval ?? "");
  return parts ? Number(parts[1]) * { s: 1000, m: 60_000, h: 3_600_000 }[parts[2]] : null;
}

/** Whether a workflow that is asked to run now would be turned away. */
export function isTaken(workflow) {
  return ["busy", "pending"].includes(workflow.trigger.status) && (workflow.overlap?.policy ?? "skip") === "skip";
}

export function heading(title, ...rest) {
  return h("div", { class: "head" }, h("h1", { tabindex: "-1" }, title), rest);
}

export const CAUSES = { manual: "By hand", schedule: "On schedule", backfill: "By backfill", event: "By event" };
