// One execution: what ran when, what it said, why it was tried again, and what can be done about it.

import { get, post } from "../api.js";
import { h, show } from "../dom.js";
import { calmly, looking, watch } from "../live.js";
import { duration, time, took } from "../time.js";
import { attempt, badge, button, CAUSES, confirmed, heading, kindOf, loading, shortId, sign, toast, trouble } from "../ui.js";

const OPEN = ["queued", "pending", "running"];

export function execution(root, id) {
  document.title = "Execution – Workflows";
  const state = { found: null, definition: null, error: null, busy: false };
  let ended = false;

  async function read() {
    try {
      const found = await get(`/v1/executions/${encodeURIComponent(id)}`);
      if (ended) return;
      if (state.found?.unconfirmed && OPEN.includes(found.status)) {
        // The log is ahead of the database: what it told holds, and is confirmed in a moment.
        settled();
        return;
      }
      state.found = found;
      state.error = null;
      document.title = `${found.workflowId} – Execution`;
      draw();
      if (!state.definition) {
        state.definition = (await get(`/v1/workflows/${found.workflowId}/versions/${found.version}`).catch(() => ({ definition: null }))).definition;
      }
    } catch (error) {
      if (ended) return;
      if (!state.found) state.error = error;
    }
    if (!ended) draw();
  }

  function note(name, data) {
    const found = state.found;
    if (!found) return;
    if (OPEN.includes(found.status)) {
      if (data.action) {
        const others = found.executedActions.filter((each) => !(each.attempt === data.action.attempt && each.actionId === data.action.actionId));
        const { index, ...outcome } = data.action;
        if (!outcome.error) delete outcome.error;
        found.executedActions = [...others, outcome];
        found.startedAt ??= outcome.startedAt;
        if (outcome.status === "failed") found.lastFailedAction = outcome.actionId;
      }
      if (data.status) {
        found.status = data.status;
        found.nextAttemptAt = data.nextAttemptAt ?? null;
        if (data.attempt) found.attempt = data.attempt;
        if (data.retriesLeft !== undefined) found.retriesLeft = data.retriesLeft;
        if (data.reason) found.reason = data.reason;
        if (!OPEN.includes(data.status)) {
          found.unconfirmed = true;
          found.finishedAt = data.finishedAt ?? data.action?.finishedAt ?? null;
          if (data.status === "ok") found.reason = null;
        }
      }
      redraw();
    }
    // Requests and responses are not told; they are read when things have settled.
    settled();
  }

  const redraw = calmly(60, draw);
  const settled = calmly(700, read);

  async function start(how) {
    state.busy = true;
    draw();
    const started = await attempt(() => post(`/v1/executions/${id}/${how}`));
    state.busy = false;
    if (started) {
      toast(how === "retry" ? "Taken up again from the failed action." : "Started once more.");
      location.hash = `#/executions/${started.executionId}`;
    } else if (!ended) {
      draw();
    }
  }

  async function cancel() {
    if (!(await confirmed("Cancel this execution?", "What runs is stopped and nothing more is started. What was done is not undone.", "Cancel the execution"))) return;
    state.busy = true;
    draw();
    const done = await attempt(() => post(`/v1/executions/${id}/cancel`));
    state.busy = false;
    if (done) toast("Cancelled.");
    await read();
  }

  function actions(found) {
    if (OPEN.includes(found.status)) return [button("Cancel", cancel, { kind: "danger", disabled: state.busy, key: "cancel" })];
    const failed = found.status !== "ok" && found.status !== "skipped";
    return [
      failed ? button("Retry from the failed action", () => start("retry"), { kind: "primary", disabled: state.busy || found.unconfirmed, key: "retry" }) : null,
      button("Run again", () => start("run-again"), { kind: failed ? "" : "primary", disabled: state.busy || found.unconfirmed, key: "again" }),
    ];
  }

  function explanation(found) {
    const kind = kindOf(found);
    if (kind === "waiting") {
      return h("div", { class: "notice notice-warn", key: "why" }, sign("waiting"), h("div", null,
        h("strong", null, "Next attempt ", time(found.nextAttemptAt, "until"), found.retriesLeft ? `, ${found.retriesLeft} ${found.retriesLeft === 1 ? "retry" : "retries"} left after it` : ", the last one"),
        found.reason ? h("p", null, found.reason) : null));
    }
    if (!OPEN.includes(found.status) && found.status !== "ok" && found.reason) {
      return h("div", { class: `notice ${found.status === "failed" ? "notice-bad" : ""}`, key: "why" }, sign(kind), h("div", null, h("strong", null, found.status === "failed" ? "Why it failed" : "Why it ended"), h("p", null, found.reason)));
    }
    return null;
  }

  function facts(found) {
    const fact = (name, ...value) => h("div", { key: name }, h("dt", null, name), h("dd", null, value));
    return h("dl", { class: "facts card pad", key: "facts" },
      fact("Asked for", time(found.createdAt)),
      fact("Took", took(found.startedAt, found.finishedAt)),
      fact("Cause", CAUSES[found.cause] ?? found.cause),
      fact("Attempt", String(found.attempt), h("span", { class: "quiet" }, found.retriesLeft ? `, ${found.retriesLeft} left` : ", none left")),
      fact("Version", h("a", { href: `#/workflows/${found.workflowId}` }, String(found.version))),
      found.dueAt ? fact("Due", time(found.dueAt)) : null,
      found.originId ? fact("Repeats", h("a", { href: `#/executions/${found.originId}`, class: "mono" }, `…${shortId(found.originId)}`)) : null,
      h("div", { class: "facts-wide", key: "id" }, h("dt", null, "Execution id"), h("dd", { class: "mono" }, found.executionId)));
  }

  /** The outcomes by attempt, in order. */
  function attempts(found) {
    const groups = new Map();
    for (const each of found.executedActions) {
      if (!groups.has(each.attempt)) groups.set(each.attempt, []);
      groups.get(each.attempt).push(each);
    }
    return [...groups].sort(([one], [other]) => one - other);
  }

  function lane(found) {
    const own = found.executedActions.filter((each) => !each.carriedOver);
    if (!found.startedAt || !own.length) return null;
    const from = Date.parse(found.startedAt);
    const to = Math.max(found.finishedAt ? Date.parse(found.finishedAt) : Date.now(), from + 1);
    const percent = (ms) => `${((100 * ms) / (to - from)).toFixed(3)}%`;
    const parts = [];
    let last = null;
    for (const [number, outcomes] of attempts(found)) {
      for (const each of outcomes) {
        if (each.carriedOver) continue;
        const [began, over] = [Date.parse(each.startedAt), Date.parse(each.finishedAt)];
        if (last !== null && number > last.number) parts.push(["wait", last.at, began, `Waited ${duration(began - last.at)}`]);
        parts.push([each.status === "ok" ? "ok" : "failed", began, over, `${each.actionId}, attempt ${each.attempt}: ${duration(over - began)}`]);
        last = { number, at: over };
      }
    }
    if (found.status === "running" && last) parts.push(["running", last.at, to, "Running"]);
    if (kindOf(found) === "waiting" && last) parts.push(["wait", last.at, to, "Waiting"]);
    const words = parts.map(([, , , word]) => word).join("; ");
    return h("div", { class: "lane", key: "lane" },
      h("div", { class: "lane-bar", role: "img", "aria-label": `Timeline: ${words}` }, parts.map(([kind, began, over, word], place) => h("div", {
        class: `segment segment-${kind}`, key: place, title: word, style: { "--from": percent(began - from), "--length": percent(over - began) },
      }))),
      h("div", { class: "lane-scale", "aria-hidden": "true" }, h("span", null, "0 s"), h("span", null, duration(to - from))));
  }

  function disclosed(label, value) {
    if (value === undefined || value === null) return null;
    return h("details", { key: label }, h("summary", null, label), h("pre", { class: "log", tabindex: "0" }, typeof value === "string" ? value : JSON.stringify(value, null, 2)));
  }

  function step(outcome) {
    const { request, ...response } = outcome.output ?? {};
    return h("li", { class: "step", key: `${outcome.attempt}-${outcome.actionId}` },
      sign(outcome.status === "ok" ? "ok" : outcome.status === "skipped" ? "skipped" : "failed"),
      h("div", { class: "step-name" }, outcome.actionId, h("span", { class: "visually-hidden" }, outcome.status === "ok" ? " succeeded" : ` ${outcome.status}`)),
      h("div", { class: "right quiet" }, took(outcome.startedAt, outcome.finishedAt)),
      h("div", { class: "step-body" },
        outcome.logs.length ? h("pre", { class: "log" }, outcome.logs.join("\n")) : null,
        outcome.error ? h("p", { class: "why" }, outcome.error.message) : null,
        disclosed("Request", request),
        disclosed(request ? "Response" : "Output", Object.keys(response).length ? response : null)));
  }

  function todo(found) {
    const all = state.definition?.actions ?? [];
    const done = new Set(found.executedActions.filter((each) => each.status === "ok" || each.status === "skipped").map((each) => each.actionId));
    const left = all.filter((each) => !done.has(each.actionId));
    if (!left.length || !OPEN.includes(found.status)) return null;
    const running = found.status === "running";
    return h("li", { class: "attempt", key: "todo" },
      h("ol", null, left.map((each, place) => h("li", { class: "step step-todo", key: `todo-${each.actionId}` },
        sign(running && place === 0 ? "running" : "idle"),
        h("div", { class: "step-name" }, each.actionId, running && place === 0 ? h("span", { class: "quiet" }, " is running") : null),
        h("div", { class: "right quiet small-text" }, each.type)))));
  }

  function timeline(found) {
    const parts = [];
    let before = null;
    for (const [number, outcomes] of attempts(found)) {
      if (before && number > 1) {
        const waited = Date.parse(outcomes[0].startedAt) - Date.parse(before.finishedAt);
        parts.push(h("li", { class: "wait", key: `wait-${number}` }, sign("waiting"), h("span", null, `Waited ${duration(waited)}`), h("span", { class: "quiet" }, before.error ? `because ${before.actionId} failed` : "before it was taken up again")));
      }
      before = outcomes.at(-1);
      parts.push(h("li", { class: "attempt", key: `attempt-${number}` },
        h("div", { class: "attempt-head" }, outcomes[0].carriedOver
          ? [h("h3", null, "Carried over"), h("span", { class: "quiet" }, "from ", h("a", { href: `#/executions/${found.originId}`, class: "mono" }, `…${shortId(found.originId)}`), ", not run again")]
          : [h("h3", null, `Attempt ${number}`), h("span", { class: "quiet" }, time(outcomes[0].startedAt))]),
        h("ol", null, outcomes.map(step))));
    }
    if (kindOf(found) === "waiting") {
      parts.push(h("li", { class: "wait", key: "wait-now" }, sign("waiting"), h("span", null, "Attempt ", String(found.attempt + 1), " ", time(found.nextAttemptAt, "until")), h("span", { class: "quiet" }, found.lastFailedAction ? `because ${found.lastFailedAction} failed` : "")));
    }
    if (!parts.length && !OPEN.includes(found.status)) return h("p", { class: "quiet", key: "none" }, "Nothing was run.");
    return h("ol", { class: "steps", key: "steps" }, parts, todo(found));
  }

  function draw() {
    if (ended) return;
    if (state.error) {
      show(root, heading("Execution"), trouble(state.error, read), h("p", null, h("a", { href: "#/executions" }, "See all executions")));
      return;
    }
    const found = state.found;
    if (!found) {
      show(root, heading("Execution"), loading(4));
      return;
    }
    show(root,
      h("p", { class: "crumbs", key: "crumbs" }, h("a", { href: "#/executions" }, "Executions"), " / ", h("span", { class: "mono" }, `…${shortId(id)}`)),
      h("div", { class: "head", key: "head" }, h("h1", { tabindex: "-1" }, h("a", { href: `#/workflows/${found.workflowId}`, class: "title-link" }, found.workflowId)), h("span", { role: "status" }, badge(kindOf(found))), h("div", { class: "actions" }, actions(found))),
      explanation(found),
      facts(found),
      h("section", { class: "section", key: "timeline", "aria-labelledby": "timeline" },
        h("h2", { id: "timeline" }, "What happened"),
        h("div", { class: "card pad" }, lane(found), timeline(found))));
  }

  draw();
  read();
  const look = looking(() => state.found !== null && OPEN.includes(state.found.status), read);
  const end = watch({ executionId: id }, note, () => {
    settled();
    look();
  });
  // The bar of a run that is under way grows.
  const tick = setInterval(() => { if (state.found && OPEN.includes(state.found.status)) redraw(); }, 1000);
  return () => {
    ended = true;
    end();
    clearInterval(tick);
    look.stop();
    redraw.stop();
    settled.stop();
  };
}
