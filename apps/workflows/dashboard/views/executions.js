// What ran, runs and waits: newest first. What is new waits behind a button, so that nothing moves under the pointer.

import { get, query } from "../api.js";
import { h, show } from "../dom.js";
import { calmly, looking, watch } from "../live.js";
import { time, took } from "../time.js";
import { badge, button, CAUSES, empty, heading, kindOf, loading, shortId, sign, toast, trouble } from "../ui.js";

const PAGE = 30;
const MOST_NEW = 99;
const STATUSES = [["running", "Running"], ["pending", "Waiting"], ["failed", "Failed"], ["ok", "Succeeded"], ["cancelled", "Cancelled"], ["skipped", "Skipped"]];
const SPANS = [["", "Any time"], ["3600", "Last hour"], ["86400", "Last day"], ["604800", "Last 7 days"], ["2592000", "Last 30 days"]];

/** A list of executions below `holder`: the view of all of them, and a part of the view of one workflow. */
export function executionList(root, { workflowId = null, search = "", statuses = [], span = "", compact = false, onFilter = () => {} }) {
  const state = { items: null, next: null, error: null, more: false, news: 0, workflowId: workflowId ?? search, statuses: new Set(statuses), span };
  let asked = 0;
  let end = () => {};

  const address = (cursor) => `/v1/executions${query({
    limit: compact ? 12 : PAGE,
    workflowId: state.workflowId,
    status: [...state.statuses].join(","),
    from: state.span ? new Date(Date.now() - Number(state.span) * 1000).toISOString() : "",
    cursor,
  })}`;

  async function read(keep = false) {
    const mine = ++asked;
    if (!keep) state.items = null;
    state.news = 0;
    draw();
    try {
      const page = await get(address());
      if (mine !== asked) return;
      Object.assign(state, { items: page.items, next: page.nextCursor, error: null });
    } catch (error) {
      if (mine !== asked) return;
      state.error = error;
    }
    draw();
  }

  async function readMore() {
    state.more = true;
    draw();
    try {
      const page = await get(address(state.next));
      const known = new Set(state.items.map((each) => each.executionId));
      state.items = [...state.items, ...page.items.filter((each) => !known.has(each.executionId))];
      state.next = page.nextCursor;
    } catch (error) {
      toast(error.message, { kind: "bad" });
    }
    state.more = false;
    draw();
  }

  // At the top of the list, and with nobody pointing at it, new ones appear by themselves.
  const atRest = () => scrollY < 60 && !root.matches(":hover") && !root.contains(document.activeElement);

  function note(name, data) {
    if (!state.items || !data.executionId) return;
    const known = state.items.find((each) => each.executionId === data.executionId);
    if (known) {
      if (!["queued", "pending", "running"].includes(known.status) || !data.status) return;
      known.status = data.status;
      known.nextAttemptAt = data.nextAttemptAt ?? null;
      if (data.attempt) known.attempt = data.attempt;
      known.startedAt ??= data.action?.startedAt ?? null;
      if (!["queued", "pending", "running"].includes(data.status)) known.finishedAt = data.finishedAt ?? data.action?.finishedAt ?? null;
      if (data.reason) known.reason = data.reason;
      redraw();
    } else if (name === "execution-requested" && (!state.workflowId || state.workflowId === data.workflowId)) {
      if (state.statuses.size && !state.statuses.has("pending") && !state.statuses.has("running")) return;
      if (compact || atRest()) {
        state.items = [{ ...data, startedAt: null, finishedAt: null, nextAttemptAt: null, fresh: true }, ...state.items].sort((a, b) => (a.executionId < b.executionId ? 1 : -1)).slice(0, Math.max(state.items.length, compact ? 12 : PAGE));
      } else {
        state.news += 1;
      }
      redraw();
    } else if (state.statuses.has(data.status) && !["queued", "pending", "running"].includes(data.status)) {
      // One that has come to be what is filtered for.
      settled();
    }
  }

  const redraw = calmly(150, draw);
  const settled = calmly(2000, () => (atRest() ? read(true) : ((state.news += 1), draw())));

  function filter() {
    onFilter(state);
    read();
  }
  const filterCalmly = calmly(350, filter);

  function row(each) {
    const kind = kindOf(each);
    return h("li", { class: `row execution-row ${each.fresh ? "fresh" : ""}`, key: each.executionId, "data-execution": each.executionId },
      h("div", { class: "cell-status" }, badge(kind)),
      h("div", null, h("a", { class: "row-link", href: `#/executions/${each.executionId}` }, compact ? h("span", { class: "mono" }, `…${shortId(each.executionId)}`) : each.workflowId),
        kind === "waiting" ? h("span", { class: "sub" }, "next attempt ", time(each.nextAttemptAt, "until")) : compact ? null : h("span", { class: "sub mono" }, `…${shortId(each.executionId)}`)),
      h("div", { class: "cell-cause quiet" }, each.originId ? "Repeated" : CAUSES[each.cause] ?? each.cause),
      h("div", { class: "cell-when quiet" }, time(each.createdAt)),
      h("div", { class: "cell-took right" }, each.status === "skipped" ? h("span", { class: "nothing" }, "–") : took(each.startedAt, each.finishedAt)),
      h("div", { class: "cell-tries right quiet" }, each.attempt > 1 ? `${each.attempt} tries` : "1 try"));
  }

  function list() {
    if (state.error) return trouble(state.error, () => read());
    if (!state.items) return loading(compact ? 3 : 8);
    if (!state.items.length) {
      if (state.statuses.size || state.span || (state.workflowId && !workflowId)) return empty("Nothing matches", "No execution is like that. Widen the filters to see more.");
      return workflowId
        ? empty("It has not run yet", "Run it now, or wait for its schedule: what happens appears here at once.")
        : empty("Nothing has run yet", "Trigger a workflow, or let its schedule do it: what happens appears here at once.", h("a", { class: "button primary", href: "#/workflows" }, "See the workflows"));
    }
    return [
      h("div", { class: "columns execution-row", "aria-hidden": "true" }, h("span", null, "Status"), h("span", null, compact ? "Execution" : "Workflow"), h("span", null, "Cause"), h("span", null, "Asked for"), h("span", { class: "right" }, "Took"), h("span", { class: "right" }, "Tries")),
      h("ul", { class: "rows card", "aria-label": "Executions" }, state.items.map(row)),
      compact ? null : h("div", { class: "more" }, state.next ? button(state.more ? "Reading…" : "Show older", readMore, { disabled: state.more }) : null),
    ];
  }

  function draw() {
    const news = state.news > MOST_NEW ? `${MOST_NEW}+` : state.news;
    show(root,
      compact ? null : h("div", { class: "filters", role: "search", key: "filters" },
        h("div", { class: "chips", role: "group", "aria-label": "Status" }, STATUSES.map(([status, word]) => h("button", {
          type: "button", class: "chip", key: status, "aria-pressed": String(state.statuses.has(status)),
          on: { click: () => { if (!state.statuses.delete(status)) state.statuses.add(status); filter(); } },
        }, sign(status === "pending" ? "waiting" : status, 16), word))),
        h("input", { type: "search", class: "grow", placeholder: "Workflow id", "aria-label": "Workflow id", value: state.workflowId, on: { input: (event) => { state.workflowId = event.target.value.trim(); filterCalmly(); } } }),
        h("select", { "aria-label": "Time", value: state.span, on: { change: (event) => { state.span = event.target.value; filter(); } } }, SPANS.map(([value, label]) => h("option", { value }, label)))),
      compact ? null : h("div", { class: "news", key: "news", "aria-live": "polite" }, state.news ? button(`${news} new – show`, () => { scrollTo(0, 0); read(true); }, { kind: "small pill" }) : h("span", { class: "quiet small-text" }, "Newest first. New ones appear here by themselves.")),
      h("div", { key: "list" }, list()));
  }

  read();
  const reread = calmly(1000, () => read(true));
  const look = looking(() => state.items?.some((each) => ["queued", "pending", "running"].includes(each.status)) && (compact || atRest()), () => read(true));
  end = watch({ workflowId }, note, () => {
    reread();
    look();
  });
  return () => {
    end();
    asked += 1;
    for (const each of [redraw, settled, filterCalmly, reread, look]) each.stop();
  };
}

export function executions(root, _, parameters) {
  document.title = "Executions – Workflows";
  const holder = h("div", { opaque: true });
  show(root, heading("Executions"));
  root.append(holder);
  return executionList(holder, {
    search: parameters.get("workflow") ?? "",
    statuses: (parameters.get("status") ?? "").split(",").filter(Boolean),
    span: parameters.get("span") ?? "",
    onFilter: (state) => history.replaceState(null, "", `#/executions${query({ workflow: state.workflowId, status: [...state.statuses].join(","), span: state.span })}`),
  });
}
