// What ran, runs and waits: newest first. What is new waits behind a button where somebody is reading, so that nothing moves
// under the pointer.

import { get, link, query } from "../api.js";
import { h, show } from "../dom.js";
import { afterTyping, beginnings, calmly, haveBegun, looking, watch } from "../live.js";
import { paged } from "../paged.js";
import { shortly, time, took, zone } from "../time.js";
import { awaitedWords, badge, button, CAUSES, empty, heading, isAwaited, isOpen, kindOf, plural, shortId, sign } from "../ui.js";

const PAGE = 30;
const FEW = 8;
const MOST_NEW = 99;
const SUGGESTED = 12;
// The statuses that are asked for, and their sign: one that is pending is shown as queued or as waiting.
const CHIPS = [
  [["running"], "running", "Running"], [["queued", "pending"], "waiting", "Queued or waiting"], [["failed"], "failed", "Failed"],
  [["ok"], "ok", "Succeeded"], [["cancelled"], "cancelled", "Cancelled"], [["skipped"], "skipped", "Skipped"],
];
const SPANS = [["", "Any time"], ["3600", "Last hour"], ["86400", "Last day"], ["604800", "Last 7 days"], ["2592000", "Last 30 days"], ["between", "Between…"]];
const WORKFLOW_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const EXECUTION_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** An instant as a field for one holds it, or "". */
function localOf(instant) {
  const at = Date.parse(instant);
  return at ? new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 16) : "";
}

/**
 * A list of executions in `root`: the view of all of them, or (`only` one workflow) a part of that workflow's view. Returns
 * `note` and `gap`, which are to be called with what happens, `areAwaited` and `learn` for what has begun, and `end`; it calls
 * `begun` when it shows something new of which that is to be found out.
 */
export function executionList(root, { only = null, workflowId = only ?? "", reference = "", statuses = [], span = "", from = "", to = "", memory = {}, begun, onFilter = () => {} }) {
  const size = only ? FEW : PAGE;
  const state = { news: new Set(), workflowId, reference, typed: workflowId || reference, both: "", statuses: new Set(statuses), span, from, to, suggested: [] };
  const coming = new Set(); // ids of those that do not match, but will when they have begun
  let areNewAsked = false; // for what is new, until a reading that was begun since then has brought it

  const address = (cursor) => `/v1/executions${query({
    limit: size,
    workflowId: state.workflowId,
    reference: state.reference,
    status: [...state.statuses].join(","),
    ...asked(),
    cursor,
  })}`;

  /** From when to when they are asked for. */
  function asked() {
    if (state.span === "between") return { from: state.from, to: state.to };
    return { from: state.span ? new Date(Date.now() - Number(state.span) * 1000).toISOString() : "" };
  }

  const list = paged(address, draw, { size, isBelow: (one, other) => one.executionId < other.executionId, note, memory });

  async function begin() {
    state.news.clear();
    areNewAsked = false;
    coming.clear();
    await list.begin();
    begun();
  }

  /** Read the first page again. */
  async function read() {
    const wereAsked = areNewAsked;
    await list.read((page) => place(page, wereAsked && areNewAsked));
    begun();
  }

  /** Show a first page; while somebody reads, and has not asked for `all`, what is new is only counted. */
  function place(page, all) {
    if (all || atRest()) {
      state.news.clear();
      if (all) areNewAsked = false;
      list.join(page);
      return;
    }
    const found = new Map(page.items.map((each) => [each.executionId, each]));
    list.items = list.items.map((each) => found.get(each.executionId) ?? each);
    const newest = list.items[0]?.executionId ?? "";
    for (const id of found.keys()) if (id > newest) state.news.add(id);
  }

  /** Whether somebody points at the list, or uses it by keyboard; what it is filtered by is not the list. */
  function isHeld() {
    const bar = root.querySelector(".filters");
    const isIn = (part) => part.matches(":hover") || part.contains(document.activeElement);
    return isIn(root) && !(bar && isIn(bar));
  }

  // At the top of the list, and with nobody pointing at it, new ones appear by themselves; so they do where there is none.
  const atRest = () => !list.items?.length || ((only || scrollY < 60) && !isHeld());

  /** Whether it is of the time that is asked for; that an hour or a day has passed is not looked after. */
  function isWithin(each) {
    const { from, to } = state.span === "between" ? state : {};
    return !(from && each.createdAt < from) && !(to && each.createdAt >= to);
  }

  const matches = (each) => (!state.statuses.size || state.statuses.has(each.status)) && (!state.workflowId || state.workflowId === each.workflowId) && (!state.reference || state.reference === each.reference) && isWithin(each);

  function insert(next) {
    if (!list.items) return; // it is taken in when they are there
    if (atRest() && !state.news.size) {
      list.add(next);
    } else {
      state.news.add(next.executionId);
      if (atRest()) settled(); // those that waited are between it and what is shown: all of them come
    }
    redraw();
  }

  function note(name, data) {
    if (!data.executionId || !data.status) return;
    if (isAwaited(data)) begun();
    const known = list.items?.find((each) => each.executionId === data.executionId);
    if (known) {
      if (!isOpen(known)) return;
      known.status = data.status;
      known.nextAttemptAt = data.nextAttemptAt ?? null;
      known.waitingFor = data.waitingFor ?? null;
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
    } else if (state.statuses.size) {
      // One that has come to be what is filtered for.
      if (coming.delete(data.executionId) || data.status !== "running") settled();
    } else if (isMissed(data)) {
      // What became of it is told before that it was asked for: these are two topics. The database may come to know still later.
      settled();
      look();
    }
  }

  /** Whether it belongs among those that are shown, and neither is nor waits to be. */
  function isMissed({ executionId }) {
    return list.items !== null && executionId > (list.items.at(-1)?.executionId ?? "") && !state.news.has(executionId);
  }

  function learn(running) {
    haveBegun(list.items, running);
    for (const [id, found] of running) if (coming.delete(id)) insert({ ...found, fresh: true });
    redraw();
  }

  const redraw = calmly(150, draw);
  const settled = calmly(2000, read);

  function showNew() {
    if (!only) scrollTo(0, 0);
    areNewAsked = true;
    read();
  }

  function filter() {
    onFilter(state);
    begin();
  }

  // A list is filtered by a whole id; while one is typed, those that contain what is there are suggested.
  const suggest = afterTyping(250, async () => {
    const page = state.typed ? await get(`/v1/workflows${query({ search: state.typed, limit: SUGGESTED })}`).catch(() => null) : null;
    state.suggested = page ? page.items.map((each) => each.workflowId) : [];
    draw();
  });

  function choose(event) {
    state.typed = event.target.value.trim();
    if (EXECUTION_ID.test(state.typed)) {
      location.hash = link`#/executions/${state.typed.toLowerCase()}`;
      return;
    }
    if (event.type === "change" && state.typed) decide(state.typed);
    else if (state.typed === "" || state.suggested.includes(state.typed)) ask({ workflowId: state.typed });
    else suggest();
  }

  /** Ask for the workflow of that id where there is one, or was when it ran, and else for the reference. */
  async function decide(typed) {
    const isAny = (address, is = () => true) => get(address).then(({ items }) => items.some(is));
    let isWorkflow = WORKFLOW_ID.test(typed);
    let isReference = false;
    if (isWorkflow) {
      try {
        const [known, ran, referred] = await Promise.all([
          isAny(`/v1/workflows${query({ prefix: typed, limit: 1 })}`, (each) => each.workflowId === typed),
          isAny(`/v1/executions${query({ workflowId: typed, limit: 1 })}`),
          isAny(`/v1/executions${query({ reference: typed, limit: 1 })}`),
        ]);
        [isWorkflow, isReference] = [known || ran, referred];
      } catch {
        // The list says why that cannot be asked.
      }
      if (typed !== state.typed) return;
    }
    state.both = isWorkflow && isReference ? typed : "";
    ask(isWorkflow ? { workflowId: typed } : { reference: typed });
  }

  function ask({ workflowId = "", reference = "" }) {
    if (workflowId === state.workflowId && reference === state.reference) {
      draw();
      return;
    }
    Object.assign(state, { workflowId, reference });
    filter();
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
    const waits = () => (each.waitingFor
      ? h("span", { class: "sub reason", title: `${each.waitingFor.actionId} gives up ${shortly(each.waitingFor.until)}` }, awaitedWords(each.waitingFor), ", gives up ", time(each.waitingFor.until, "until"))
      : h("span", { class: `sub ${each.reason ? "reason" : ""}`, title: each.reason }, "goes on ", time(each.nextAttemptAt, "until"), each.reason ? `, ${each.reason}` : null));
    const why = each.reason && !isOpen(each) && each.status !== "ok" ? each.reason : null;
    return h("li", { class: `row execution-row ${each.fresh ? "fresh" : ""}`, key: each.executionId, "data-execution": each.executionId },
      h("div", { class: "cell-status" }, badge(kind)),
      h("div", { class: "cell-name" }, h("a", { class: "row-link", href: link`#/executions/${each.executionId}` }, only ? h("span", { class: "mono" }, `…${shortId(each.executionId)}`) : each.workflowId), each.reference ? h("span", { class: only ? "sub reference" : "quiet reference" }, " ", each.reference) : null,
        kind === "waiting" ? waits() : only ? null : h("span", { class: `sub ${why ? "reason" : ""}`, title: why }, h("span", { class: "mono" }, `…${shortId(each.executionId)}`), why ? ` ${why}` : null)),
      h("div", { class: "cell-cause quiet" }, each.originId ? "Repeated" : CAUSES[each.cause] ?? each.cause),
      h("div", { class: "cell-when quiet" }, time(each.createdAt), only ? null : h("span", { class: "sub" }, shortly(each.createdAt))),
      h("div", { class: "cell-took right" }, each.status === "skipped" ? h("span", { class: "nothing" }, "–") : took(each.startedAt, each.finishedAt)),
      h("div", { class: "cell-tries right quiet" }, tries),
      only && why ? h("div", { class: "cell-why sub reason", title: why }, why) : null);
  }

  function nothing() {
    if (state.statuses.size || state.span || state.reference || (state.workflowId && !only)) {
      return empty("Nothing matches", "No execution is like that. Widen the filters to see more.", button("Show all", () => {
        Object.assign(state, { statuses: new Set(), span: "", from: "", to: "", workflowId: "", reference: "", typed: "" });
        filter();
      }));
    }
    return only
      ? empty("It has not run yet", "Run it now, or wait for its schedule: what happens appears here at once.")
      : empty("Nothing has run yet", "Trigger a workflow, or let its schedule do it: what happens appears here at once.", h("a", { class: "button primary", href: "#/workflows" }, "See the workflows"));
  }

  function filled(items) {
    return [
      h("div", { class: "columns execution-row", "aria-hidden": "true" }, h("span", null, "Status"), h("span", null, only ? "Execution" : "Workflow"), h("span", null, "Cause"), h("span", null, "Asked for ", only ? null : zone()), h("span", { class: "right" }, "Took"), h("span", { class: "right" }, "Tries")),
      h("ul", { class: "rows card", "aria-label": "Executions" }, items.map(row)),
    ];
  }

  /** A field for one end of the time that is asked for, in the time zone of the browser. */
  function instant(name, label) {
    return h("label", { class: "instant", key: name }, label, h("input", { type: "datetime-local", value: localOf(state[name]), on: { change: (event) => {
      state[name] = event.target.value ? new Date(event.target.value).toISOString() : "";
      filter();
    } } }));
  }

  function filters() {
    return h("div", { class: "filters", role: "search", key: "filters" },
      h("div", { class: "chips", role: "group", "aria-label": "Status" }, CHIPS.map(([names, kind, word]) => h("button", {
        type: "button", class: "chip", key: kind, "aria-pressed": String(isAsked(names)), on: { click: () => toggle(names) },
      }, sign(kind, 16), word))),
      h("input", { type: "search", class: "grow", placeholder: "Workflow, reference or id", "aria-label": "Workflow, reference or execution id", list: "known-workflows", autocomplete: "off", value: state.typed, on: { input: choose, change: choose } }),
      h("datalist", { id: "known-workflows", key: "known" }, state.suggested.map((id) => h("option", { value: id, key: id }))),
      h("select", { "aria-label": "Time", value: state.span, on: { change: (event) => { state.span = event.target.value; filter(); } } }, SPANS.map(([value, label]) => h("option", { value }, label))),
      state.span === "between" ? [instant("from", "From"), instant("to", "Until")] : null,
      state.both && state.both === state.workflowId ? button(`Those of reference ${state.both}`, () => ask({ reference: state.both }), { key: "both", kind: "small" }) : null);
  }

  function draw() {
    // What has ceased to match leaves, but not under somebody's pointer: then it leaves when that does.
    if (list.items && atRest()) list.items = list.items.filter(matches);
    const news = state.news.size > MOST_NEW ? `${MOST_NEW}+` : state.news.size;
    show(root,
      only ? null : filters(),
      // Over the list rather than above it: it comes and goes without moving a row.
      h("div", { class: "news", key: "news", "aria-live": "polite" }, news ? button(`${news} new – show`, showNew, { kind: "small pill" }) : null),
      h("div", { key: "list", on: { pointerleave: redraw, focusout: redraw } }, list.show(filled, nothing, { rows: only ? 3 : 8, kind: only ? "small" : "" })));
  }

  draw();
  list.read().then(begun);
  const gap = calmly(1000, read);
  const look = looking(() => list.items?.some(isOpen), read);
  return {
    note: list.hear,
    learn,
    areAwaited: () => coming.size > 0 || (list.items?.some(isAwaited) ?? false),
    gap() {
      gap();
      look();
    },
    end() {
      list.stop();
      list.remember();
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
    reference: parameters.get("reference") ?? "",
    statuses: (parameters.get("status") ?? "").split(",").filter(Boolean),
    span: parameters.get("span") ?? "",
    from: parameters.get("from") ?? "",
    to: parameters.get("to") ?? "",
    memory,
    begun,
    onFilter: (state) => history.replaceState(history.state, "", `#/executions${query({ workflow: state.workflowId, reference: state.reference, status: [...state.statuses].join(","), span: state.span, ...(state.span === "between" ? { from: state.from, to: state.to } : {}) })}`),
  });
  const end = watch({}, list.note, list.gap);
  return () => {
    end();
    begun.stop();
    list.end();
  };
}
