// What ran, runs and waits: newest first. What is new waits behind a button where somebody is reading, so that nothing moves
// under the pointer.

import { get, link, query } from "../api.js";
import { h, show } from "../dom.js";
import { afterTyping, beginnings, calmly, haveBegun, looking, watch } from "../live.js";
import { time, took } from "../time.js";
import { badge, button, CAUSES, empty, heading, isAwaited, isOpen, kindOf, loading, plural, shortId, sign, toast, trouble } from "../ui.js";

const PAGE = 30;
const FEW = 8;
const MOST_NEW = 99;
const SUGGESTED = 12;
// The statuses that are asked for, and their sign: one that is pending is shown as queued or as waiting.
const CHIPS = [
  [["running"], "running", "Running"], [["queued", "pending"], "waiting", "Queued or waiting"], [["failed"], "failed", "Failed"],
  [["ok"], "ok", "Succeeded"], [["cancelled"], "cancelled", "Cancelled"], [["skipped"], "skipped", "Skipped"],
];
const SPANS = [["", "Any time"], ["3600", "Last hour"], ["86400", "Last day"], ["604800", "Last 7 days"], ["2592000", "Last 30 days"]];

const newestFirst = (one, other) => (one.executionId < other.executionId ? 1 : -1);

/**
 * A list of executions in `root`: the view of all of them, or (`only` one workflow) a part of that workflow's view. Returns
 * `note` and `gap`, which are to be called with what happens, `areAwaited` and `learn` for what has begun, and `end`; it calls
 * `begun` when it shows something new of which that is to be found out.
 */
export function executionList(root, { only = null, workflowId = only ?? "", statuses = [], span = "", memory = {}, begun, onFilter = () => {} }) {
  const size = only ? FEW : PAGE;
  const state = { items: memory.items ?? null, next: memory.next ?? null, error: null, more: false, news: 0, workflowId, typed: workflowId, statuses: new Set(statuses), span, suggested: [] };
  let asked = 0;
  let lists = 0; // how often something else was asked for than what was shown
  const coming = new Set(); // ids of those that do not match, but will when they have begun
  let arrived = []; // while a page was being read, which may not have them yet

  const address = (cursor) => `/v1/executions${query({
    limit: size,
    workflowId: state.workflowId,
    status: [...state.statuses].join(","),
    from: state.span ? new Date(Date.now() - Number(state.span) * 1000).toISOString() : "",
    cursor,
  })}`;

  async function read(keep = false, all = true) {
    const mine = ++asked;
    arrived = [];
    if (!keep) {
      Object.assign(state, { items: null, more: false });
      lists += 1;
      coming.clear();
    }
    if (all) state.news = 0;
    draw();
    try {
      const page = await get(address());
      if (mine !== asked) return;
      place(page, all);
      state.error = null;
    } catch (error) {
      if (mine !== asked) return;
      state.error = error;
    }
    draw();
    begun();
  }

  /** Bring what is shown up to date; unless `all`, what is new is only counted. */
  function place(page, all) {
    const shown = state.items ?? [];
    if (!all) {
      const found = new Map(page.items.map((each) => [each.executionId, each]));
      state.items = shown.map((each) => found.get(each.executionId) ?? each);
      const newest = shown[0]?.executionId ?? "";
      state.news = Math.max(state.news, page.items.filter((each) => each.executionId > newest).length);
      return;
    }
    const oldest = page.items.at(-1)?.executionId ?? "";
    const below = shown.length > size ? shown.filter((each) => each.executionId < oldest) : [];
    if (!below.length) state.next = page.nextCursor;
    const found = new Set(page.items.map((each) => each.executionId));
    state.items = [...arrived.filter((each) => !found.has(each.executionId)), ...page.items, ...below].sort(newestFirst);
  }

  async function readMore() {
    const mine = lists;
    state.more = true;
    draw();
    try {
      const page = await get(address(state.next));
      if (mine !== lists) return;
      const known = new Set(state.items.map((each) => each.executionId));
      state.items = [...state.items, ...page.items.filter((each) => !known.has(each.executionId))];
      state.next = page.nextCursor;
    } catch (error) {
      if (mine !== lists) return;
      toast(error.message, { kind: "bad" });
    }
    state.more = false;
    draw();
  }

  /** Whether somebody points at the list, or uses it by keyboard; what it is filtered by is not the list. */
  function isHeld() {
    const bar = root.querySelector(".filters");
    const isIn = (part) => part.matches(":hover") || part.contains(document.activeElement);
    return isIn(root) && !(bar && isIn(bar));
  }

  // At the top of the list, and with nobody pointing at it, new ones appear by themselves; so they do where there is none.
  const atRest = () => !state.items?.length || ((only || scrollY < 60) && !isHeld());

  const matches = (each) => (!state.statuses.size || state.statuses.has(each.status)) && (!state.workflowId || state.workflowId === each.workflowId);

  function insert(next) {
    if (atRest()) {
      arrived.push(next);
      if (state.items) state.items = [next, ...state.items].sort(newestFirst).slice(0, Math.max(state.items.length, size));
    } else {
      state.news += 1;
    }
    redraw();
  }

  function note(name, data) {
    if (!data.executionId || !data.status) return;
    if (isAwaited(data)) begun();
    const known = (state.items ?? arrived).find((each) => each.executionId === data.executionId);
    if (known) {
      if (!isOpen(known)) return;
      known.status = data.status;
      known.nextAttemptAt = data.nextAttemptAt ?? null;
      if (data.attempt) known.attempt = data.attempt;
      known.startedAt ??= data.action?.startedAt ?? null;
      if (!isOpen(data)) known.finishedAt = data.finishedAt ?? data.action?.finishedAt ?? null;
      if (data.reason) known.reason = data.reason;
      redraw();
    } else if (!matches(data)) {
      if (isAwaited(data) && matches({ ...data, status: "running" })) coming.add(data.executionId);
      else coming.delete(data.executionId);
    } else if (name === "execution-requested") {
      insert({ ...data, startedAt: null, finishedAt: null, nextAttemptAt: null, fresh: true });
    } else if (state.statuses.size && (coming.delete(data.executionId) || data.status !== "running")) {
      // One that has come to be what is filtered for.
      settled();
    }
  }

  function learn(running) {
    haveBegun(state.items, running);
    for (const [id, found] of running) if (coming.delete(id)) insert({ ...found, fresh: true });
    redraw();
  }

  const redraw = calmly(150, draw);
  const refresh = () => read(true, atRest());
  const settled = calmly(2000, refresh);

  function filter() {
    onFilter(state);
    read();
  }

  // A list is filtered by a whole id; while one is typed, those that contain what is there are suggested.
  const suggest = afterTyping(250, async () => {
    const page = state.typed ? await get(`/v1/workflows${query({ search: state.typed, limit: SUGGESTED })}`).catch(() => null) : null;
    state.suggested = page ? page.items.map((each) => each.workflowId) : [];
    draw();
  });

  function choose(event) {
    state.typed = event.target.value.trim();
    const isWhole = state.typed === "" || event.type === "change" || state.suggested.includes(state.typed);
    if (!isWhole) {
      suggest();
    } else if (state.typed !== state.workflowId) {
      state.workflowId = state.typed;
      filter();
    }
  }

  const isAsked = (names) => names.some((each) => state.statuses.has(each));

  function toggle(names) {
    const change = isAsked(names) ? "delete" : "add";
    for (const each of names) state.statuses[change](each);
    filter();
  }

  function row(each) {
    const kind = kindOf(each);
    const tries = plural(each.attempt, "try", "tries");
    return h("li", { class: `row execution-row ${each.fresh ? "fresh" : ""}`, key: each.executionId, "data-execution": each.executionId },
      h("div", { class: "cell-status" }, badge(kind)),
      h("div", { class: "cell-name" }, h("a", { class: "row-link", href: link`#/executions/${each.executionId}` }, only ? h("span", { class: "mono" }, `…${shortId(each.executionId)}`) : each.workflowId),
        kind === "waiting" ? h("span", { class: "sub" }, "goes on ", time(each.nextAttemptAt, "until")) : only ? null : h("span", { class: "sub mono" }, `…${shortId(each.executionId)}`)),
      h("div", { class: "cell-cause quiet" }, each.originId ? "Repeated" : CAUSES[each.cause] ?? each.cause),
      h("div", { class: "cell-when quiet" }, time(each.createdAt)),
      h("div", { class: "cell-took right" }, each.status === "skipped" ? h("span", { class: "nothing" }, "–") : took(each.startedAt, each.finishedAt)),
      h("div", { class: "cell-tries right quiet" }, tries));
  }

  function list() {
    if (state.error && !state.items) return trouble(state.error, () => read());
    if (!state.items) return loading(only ? 3 : 8);
    if (!state.items.length) {
      if (state.statuses.size || state.span || (state.workflowId && !only)) {
        return empty("Nothing matches", "No execution is like that. Widen the filters to see more.", button("Show all", () => {
          Object.assign(state, { statuses: new Set(), span: "", workflowId: "", typed: "" });
          filter();
        }));
      }
      return only
        ? empty("It has not run yet", "Run it now, or wait for its schedule: what happens appears here at once.")
        : empty("Nothing has run yet", "Trigger a workflow, or let its schedule do it: what happens appears here at once.", h("a", { class: "button primary", href: "#/workflows" }, "See the workflows"));
    }
    return [
      h("div", { class: "columns execution-row", "aria-hidden": "true" }, h("span", null, "Status"), h("span", null, only ? "Execution" : "Workflow"), h("span", null, "Cause"), h("span", null, "Asked for"), h("span", { class: "right" }, "Took"), h("span", { class: "right" }, "Tries")),
      h("ul", { class: "rows card", "aria-label": "Executions" }, state.items.map(row)),
      h("div", { class: "more" }, state.next ? button(state.more ? "Reading…" : "Show older", readMore, { disabled: state.more, kind: only ? "small" : "" }) : null),
    ];
  }

  function filters() {
    return h("div", { class: "filters", role: "search", key: "filters" },
      h("div", { class: "chips", role: "group", "aria-label": "Status" }, CHIPS.map(([names, kind, word]) => h("button", {
        type: "button", class: "chip", key: kind, "aria-pressed": String(isAsked(names)), on: { click: () => toggle(names) },
      }, sign(kind, 16), word))),
      h("input", { type: "search", class: "grow", placeholder: "Workflow", "aria-label": "Workflow", list: "known-workflows", autocomplete: "off", value: state.typed, on: { input: choose, change: choose } }),
      h("datalist", { id: "known-workflows", key: "known" }, state.suggested.map((id) => h("option", { value: id, key: id }))),
      h("select", { "aria-label": "Time", value: state.span, on: { change: (event) => { state.span = event.target.value; filter(); } } }, SPANS.map(([value, label]) => h("option", { value }, label))));
  }

  function draw() {
    // What has ceased to match leaves, but not under somebody's pointer: then it leaves when that does.
    if (state.items && atRest()) state.items = state.items.filter(matches);
    const news = state.news > MOST_NEW ? `${MOST_NEW}+` : state.news;
    show(root,
      only ? null : filters(),
      // Over the list rather than above it: it comes and goes without moving a row.
      h("div", { class: "news", key: "news", "aria-live": "polite" }, state.news ? button(`${news} new – show`, () => { if (!only) scrollTo(0, 0); read(true); }, { kind: "small pill" }) : null),
      h("div", { key: "list", on: { pointerleave: redraw, focusout: redraw } }, list()));
  }

  read(state.items !== null);
  const gap = calmly(1000, refresh);
  const look = looking(() => state.items?.some(isOpen), refresh);
  return {
    note,
    learn,
    areAwaited: () => coming.size > 0 || (state.items?.some(isAwaited) ?? false),
    gap() {
      gap();
      look();
    },
    end() {
      asked += 1;
      Object.assign(memory, { items: state.items, next: state.next });
      for (const each of [redraw, settled, suggest, gap, look]) each.stop();
    },
  };
}

export function executions(root, _, parameters, memory) {
  document.title = "Executions – Workflows";
  const holder = h("div", { class: "list", opaque: true });
  show(root, heading("Executions"));
  root.append(holder);
  const begun = beginnings(() => list.areAwaited(), (running) => list.learn(running));
  const list = executionList(holder, {
    workflowId: parameters.get("workflow") ?? "",
    statuses: (parameters.get("status") ?? "").split(",").filter(Boolean),
    span: parameters.get("span") ?? "",
    memory,
    begun,
    onFilter: (state) => history.replaceState(history.state, "", `#/executions${query({ workflow: state.workflowId, status: [...state.statuses].join(","), span: state.span })}`),
  });
  const end = watch({}, list.note, list.gap);
  return () => {
    end();
    begun.stop();
    list.end();
  };
}
