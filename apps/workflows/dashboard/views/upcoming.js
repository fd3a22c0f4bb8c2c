// What runs next over all workflows, soonest first: the next run of each.

import { link, query } from "../api.js";
import { h, show } from "../dom.js";
import { calmly, watch } from "../live.js";
import { paged } from "../paged.js";
import { shortly, time, zone } from "../time.js";
import { badge, button, empty, triggerWords } from "../ui.js";
import { workflowsHead } from "./workflows.js";

const PAGE = 50;
const MOST = 500; // that the service tells at once
const OPEN = { busy: badge.bind(null, "running"), pending: badge.bind(null, "waiting", "Queued or waiting") };

export function upcoming(root, _, parameters, memory) {
  document.title = "Upcoming – Workflows";
  // Every run moves its workflow down the list, past any page's end: all that is shown is read at once.
  const state = { size: memory.size ?? PAGE, more: false };
  const list = paged(() => `/v1/schedules/upcoming${query({ limit: state.size })}`, draw, { note, memory });
  const read = () => list.read((page) => {
    list.items = page.items;
    state.more = page.nextCursor !== null;
  });
  const changed = calmly(3000, read);
  // Of a tick that is skipped or missed nobody tells.
  const clock = setInterval(() => {
    if (!document.hidden && Date.parse(list.items?.[0]?.dueAt) < Date.now()) changed();
  }, 2000);

  function note(name, data) {
    if (name === "workflow-changed" || list.items?.some((each) => each.workflowId === data.workflowId)) changed();
  }

  function more() {
    if (!state.more) return null;
    if (state.size >= MOST) return h("p", { class: "quiet" }, `These are the first ${MOST}.`);
    return button("Show more", () => { state.size = Math.min(MOST, state.size + PAGE); read(); });
  }

  function row(run) {
    return h("li", { class: "row upcoming-row", key: run.workflowId, "data-workflow": run.workflowId },
      h("div", { class: "cell-due" }, time(run.dueAt, "until"), h("span", { class: "sub" }, shortly(run.dueAt))),
      h("div", { class: "cell-name" }, h("a", { class: "row-link", href: link`#/workflows/${run.workflowId}` }, run.workflowId), h("span", { class: "sub" }, triggerWords(run.trigger))),
      h("div", { class: "cell-status" }, OPEN[run.trigger.status]?.() ?? null));
  }

  function filled(items) {
    return [
      h("div", { class: "columns upcoming-row", "aria-hidden": "true" }, h("span", null, "Due ", zone()), h("span", null, "Workflow"), h("span", null, "Now")),
      h("ul", { class: "rows card", "aria-label": "Upcoming runs" }, items.map(row)),
      h("div", { class: "more" }, more()),
    ];
  }

  function nothing() {
    return empty("Nothing is scheduled", "What has a schedule is listed here by its next run. What is paused, or started by hand, has none.");
  }

  function draw() {
    show(root, workflowsHead("#/upcoming"),
      h("p", { class: "lead quiet", key: "lead" }, "The next run of each workflow. What is paused, or started by hand, has none."),
      h("div", { key: "list" }, list.show(filled, nothing)));
  }

  draw();
  read();
  const end = watch({}, list.hear, changed);
  return () => {
    end();
    list.stop();
    list.remember();
    memory.size = state.size;
    clearInterval(clock);
    changed.stop();
  };
}
