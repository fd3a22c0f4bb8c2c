// All workflows: how each is, when it runs next, how its last runs went.

import { get, link, post, query } from "../api.js";
import { h, show } from "../dom.js";
import { afterTyping, beginnings, calmly, haveBegun, looking, watch } from "../live.js";
import { paged } from "../paged.js";
import { may } from "../session.js";
import { millisOf, time } from "../time.js";
import { attempt, badge, button, empty, heading, isAwaited, isByHand, isOpen, isTaken, kindOf, parts, plural, strip, TAKEN, toast, triggerWords } from "../ui.js";

const PAGE = 25;
const PLACES = 12;
const DAY = 86_400_000;
const MOST_FAILURES = 100; // that are looked at
const NAMED = 3; // workflows
const TRIGGERS = [["", "Any trigger"], ["manual", "By hand"], ["periodic", "Periodic"], ["cron", "Cron"], ["once", "Once"]];

export function workflowsHead(current) {
  return [
    heading("Workflows", may("operator") ? h("div", { class: "actions" }, h("a", { class: "button primary", href: "#/new" }, "New workflow")) : null),
    parts("Workflows", [["#/workflows", "All"], ["#/upcoming", "Upcoming"]], current),
  ];
}

export function workflows(root, _, parameters, memory) {
  document.title = "Workflows";
  const state = { search: parameters.get("search") ?? "", type: parameters.get("type") ?? "", failures: memory.failures ?? null };
  const address = (cursor) => `/v1/workflows${query({ recent: PLACES, limit: PAGE, search: state.search, triggerType: state.type, cursor })}`;
  const list = paged(address, draw, { size: PAGE, isBelow: (one, other) => one.workflowId > other.workflowId, note, memory });

  const read = () => list.read().then(begun);

  async function readFailures() {
    const page = await get(`/v1/executions${query({ status: "failed", from: new Date(Date.now() - DAY).toISOString(), limit: MOST_FAILURES })}`).catch(() => null);
    if (!page) return;
    state.failures = page;
    draw();
  }

  /** Bring one up to date that was paged in: perhaps it is archived, or no longer what is filtered for. */
  async function readOne(id) {
    const page = await get(`/v1/workflows${query({ recent: PLACES, limit: 1, prefix: id, triggerType: state.type })}`).catch(() => null);
    if (!page || !list.items) return;
    const found = page.items.filter((each) => each.workflowId === id);
    list.items = list.items.flatMap((each) => (each.workflowId === id ? found : [each]));
    draw();
  }

  async function run(workflow) {
    if (workflow.inputSchema) {
      location.hash = link`#/workflows/${workflow.workflowId}?run=yes`;
      return;
    }
    const started = await attempt(() => post(link`/v1/workflows/${workflow.workflowId}/trigger`));
    if (started) toast(`${workflow.workflowId} started.`, { link: { href: link`#/executions/${started.executionId}`, text: "Watch it" } });
  }

  function note(name, data) {
    const workflow = list.items?.find((each) => each.workflowId === data.workflowId);
    if (name === "workflow-changed") {
      changed();
      if (list.items?.indexOf(workflow) >= PAGE) readOne(data.workflowId);
      return;
    }
    if (data.status === "failed") failed();
    if (!workflow || !data.status) return;
    const known = workflow.recentExecutions.find((each) => each.executionId === data.executionId);
    const now = { ...(known ?? { createdAt: data.createdAt, startedAt: data.action?.startedAt ?? null }), executionId: data.executionId, status: data.status, nextAttemptAt: data.nextAttemptAt ?? null };
    if (known && !isOpen(known)) return;
    if (!isOpen(data)) now.finishedAt = data.finishedAt ?? data.action?.finishedAt ?? null;
    if (known) Object.assign(known, now);
    else workflow.recentExecutions = [now, ...workflow.recentExecutions].sort((a, b) => (a.executionId < b.executionId ? 1 : -1)).slice(0, PLACES);
    sum(workflow);
    if (isAwaited(now)) begun();
    if (data.cause === "schedule" && workflow.nextRun && data.dueAt && workflow.nextRun <= data.dueAt) {
      // A grid goes on by itself; when other schedules come next is the service's to say.
      if (workflow.trigger.interval) workflow.nextRun = new Date(Date.parse(data.dueAt) + millisOf(workflow.trigger.interval)).toISOString();
      else changed();
    }
    redraw();
  }

  /** Tell of a workflow what its recent executions come to. */
  function sum(workflow) {
    const open = workflow.recentExecutions.filter(isOpen);
    if (!open.length) workflow.trigger.status = workflow.pausedAt ? "paused" : "idle";
    else workflow.trigger.status = open.some((each) => each.status === "running") ? "busy" : "pending";
  }

  function learn(running) {
    for (const workflow of list.items ?? []) {
      if (haveBegun(workflow.recentExecutions, running).length) sum(workflow);
    }
    redraw();
  }

  const redraw = calmly(150, draw);
  const changed = calmly(1500, read);
  const failed = calmly(5000, readFailures);

  function filter() {
    history.replaceState(history.state, "", `#/workflows${query({ search: state.search, type: state.type })}`);
    list.begin().then(begun);
  }
  const search = afterTyping(250, filter);

  function present(workflow, open) {
    if (workflow.trigger.status === "busy") return badge("running");
    if (workflow.trigger.status === "pending") return badge(open ? kindOf(open) : "queued");
    return badge(workflow.pausedAt ? "paused" : "idle");
  }

  function row(workflow) {
    const id = workflow.workflowId;
    const open = workflow.recentExecutions.find(isOpen);
    const last = workflow.recentExecutions.find((each) => !isOpen(each));
    return h("li", { class: "row workflow-row", key: id, "data-workflow": id },
      h("div", { class: "cell-name" }, h("a", { class: "row-link", href: link`#/workflows/${id}` }, id), h("span", { class: "sub", title: workflow.unreadable ?? null }, workflow.unreadable ? "cannot be read here" : triggerWords(workflow.trigger)),
        workflow.description ? h("span", { class: "sub about", title: workflow.description }, workflow.description) : null),
      h("div", { class: "cell-status" }, present(workflow, open)),
      h("div", { class: "cell-next" }, workflow.nextRun ? time(workflow.nextRun, "until") : h("span", { class: "nothing" }, workflow.trigger.type === "manual" ? "When asked" : "None")),
      h("div", { class: "cell-last" }, last ? [badge(kindOf(last)), h("span", { class: "sub" }, time(last.finishedAt ?? last.createdAt))] : h("span", { class: "nothing" }, "Never ran")),
      h("div", { class: "cell-strip" }, strip(workflow.recentExecutions, PLACES)),
      h("div", { class: "cell-run right" }, isByHand(workflow) && may("operator")
        ? button(workflow.inputSchema ? "Run…" : "Run", () => run(workflow), { kind: "small", disabled: isTaken(workflow), title: isTaken(workflow) ? TAKEN : `Run ${id} now`, "aria-label": `Run ${id}` })
        : null));
  }

  /** Which workflows failed lately, wherever they stand in the list; one line, so that nothing moves when it is known. */
  function failures() {
    if (!state.failures) return " ";
    const { items, nextCursor } = state.failures;
    if (!items.length) return h("span", { class: "quiet" }, "Nothing failed in the last 24 hours.");
    const counts = new Map();
    for (const { workflowId } of items) counts.set(workflowId, (counts.get(workflowId) ?? 0) + 1);
    const most = [...counts].sort(([, one], [, other]) => other - one);
    const rest = most.length - NAMED;
    return [
      badge("failed", `${items.length}${nextCursor ? "+" : ""} failed in the last 24 hours`), " ",
      most.slice(0, NAMED).map(([id, count]) => [h("a", { href: link`#/workflows/${id}`, key: id }, id), ` ${count}× `]),
      rest > 0 ? `and ${plural(rest, "workflow")} more ` : null,
      h("a", { href: `#/executions${query({ status: "failed", span: DAY / 1000 })}` }, "See them"),
    ];
  }

  function nothing() {
    return state.search || state.type
      ? empty("Nothing matches", "No workflow has an id that contains this, with this kind of trigger.", button("Show all", () => { state.search = ""; state.type = ""; filter(); }))
      : empty("Define your first workflow", "A workflow is a trigger and a list of actions: HTTP requests, log lines and more. Begin with an example and change it to your needs.", may("operator") ? h("a", { class: "button primary", href: "#/new" }, "New workflow") : null);
  }

  function filled(items) {
    return [
      h("div", { class: "columns workflow-row", "aria-hidden": "true" }, ["Workflow", "Now", "Next run"].map((name) => h("span", null, name)), h("span", { class: "cell-last" }, "Last result"), h("span", null, "Recent results"), h("span")),
      h("ul", { class: "rows card", "aria-label": "Workflows" }, items.map(row)),
    ];
  }

  function draw() {
    show(root,
      workflowsHead("#/workflows"),
      h("p", { class: "failures", key: "failures" }, failures()),
      h("div", { class: "filters", role: "search", key: "filters" },
        h("input", { type: "search", class: "grow", placeholder: "Search by id", "aria-label": "Search workflows by id", value: state.search, on: { input: (event) => { state.search = event.target.value.trim(); search(); } } }),
        h("select", { "aria-label": "Trigger", value: state.type, on: { change: (event) => { state.type = event.target.value; filter(); } } },
          TRIGGERS.map(([value, label]) => h("option", { value }, label)))),
      h("div", { key: "list" }, list.show(filled, nothing, { older: "Show more" })));
  }

  const begun = beginnings(() => list.items?.some((each) => each.recentExecutions.some(isAwaited)), learn);
  draw();
  read();
  readFailures();
  const look = looking(() => list.items?.some((each) => ["busy", "pending"].includes(each.trigger.status)), read);
  const end = watch({}, list.hear, () => {
    changed();
    failed();
    look();
  });
  return () => {
    end();
    list.stop();
    list.remember();
    memory.failures = state.failures;
    for (const each of [redraw, changed, failed, search, look, begun]) each.stop();
  };
}
