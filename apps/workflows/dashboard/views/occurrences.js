// What became of the ticks that were due: each was fired, skipped, missed or held, and this says which and why.

import { link, query } from "../api.js";
import { h, show } from "../dom.js";
import { calmly, haveBegun, looking } from "../live.js";
import { paged } from "../paged.js";
import { duration, shortly } from "../time.js";
import { badge, isAwaited, isOpen, kindOf, plural, shortId, wordOf } from "../ui.js";

const FEW = 8;
const WORDS = { fired: "Fired", skipped: "Skipped", missed: "Missed", held: "Held" };

/** The occurrences of one workflow in `root`; calls `onRead` when they are read. Returns `refresh`, to be called when ticks have been due, `note` and `gap` for what happens, `areAwaited`, `learn` for those that run, and `end`. */
export function occurrenceList(root, id, onRead) {
  const list = paged((cursor) => link`/v1/workflows/${id}/occurrences` + query({ limit: FEW, cursor }), draw, { note });
  const key = (each) => `${each.disposition}-${each.dueAt}`;
  const read = () => list.read(place).then(onRead);

  /** Show a first page: rows must not move under the pointer, nor take the focus along; nor is what was paged in thrown away. */
  function place(page) {
    const isHeld = root.matches(":hover") || root.contains(document.activeElement);
    if (!list.items || (!isHeld && list.items.length <= FEW)) {
      list.join(page);
      return;
    }
    const found = new Map(page.items.map((each) => [key(each), each]));
    list.items = list.items.map((each) => found.get(key(each)) ?? each);
  }

  const refresh = calmly(2500, () => read().then(look));
  // What became of one may have been told before it was read, and the database may come to know of it still later.
  const look = looking(() => list.items?.some(isOpen), read);

  /** What becomes of an execution is told in its row, where it stands. */
  function note(name, data) {
    const found = list.items?.find((each) => each.executionId === data.executionId);
    if (!found || !isOpen(found) || !data.status) return;
    found.status = data.status;
    found.nextAttemptAt = data.nextAttemptAt ?? null;
    if (data.action) begin(found, data.action.startedAt);
    draw();
  }

  function begin(found, startedAt) {
    found.latenessMs ??= Date.parse(startedAt) - Date.parse(found.dueAt);
  }

  function learn(running) {
    for (const each of haveBegun(list.items, running)) begin(each, each.startedAt);
    draw();
  }

  function why(each) {
    const ticks = plural(each.ticks ?? 1, "tick");
    switch (each.disposition) {
      case "skipped": return [`${ticks}, because `, each.openExecutionId ? h("a", { class: "mono above", href: link`#/executions/${each.openExecutionId}` }, `…${shortId(each.openExecutionId)}`) : "an execution", " was still open"];
      case "missed": return `${ticks}, too late to be made up for`;
      case "held": return `${ticks} while it was paused`;
      default: return [h("a", { class: "mono", href: link`#/executions/${each.executionId}` }, `…${shortId(each.executionId)}`), " ", h("span", { class: `kind-${kindOf(each)}` }, wordOf(kindOf(each)).toLowerCase())];
    }
  }

  function lateness(each) {
    if (each.disposition !== "fired") return null;
    if (each.cause === "backfill") return h("span", { title: "It was made up for because somebody asked" }, "Backfilled");
    if (each.latenessMs === null) return h("span", { class: "nothing" }, "Not begun");
    return h("span", { title: "From when it was due to when its first action began" }, `${duration(each.latenessMs)} late`);
  }

  const row = (each) => h("li", { class: "row occurrence-row", key: key(each) },
    h("div", { class: "cell-status" }, badge(each.disposition, WORDS[each.disposition])),
    h("div", { class: "cell-due" }, h("span", { class: "when" }, shortly(each.dueAt)), each.until && each.until !== each.dueAt ? h("span", { class: "sub" }, "to ", h("span", { class: "when" }, shortly(each.until))) : null),
    h("div", { class: "cell-why" }, why(each)),
    h("div", { class: "cell-late right quiet" }, lateness(each)));

  function draw() {
    show(root, list.show(
      (items) => [
        h("div", { class: "columns occurrence-row", "aria-hidden": "true" }, h("span", null, "Disposition"), h("span", null, "Due"), h("span", null, "What became of it"), h("span", { class: "right" }, "Begun")),
        h("ul", { class: "rows card", "aria-label": "Occurrences" }, items.map(row)),
      ],
      () => h("p", { class: "quiet" }, "No tick has been due yet."),
      { rows: 3, kind: "small" },
    ));
  }

  draw();
  read();
  return {
    refresh,
    note: list.hear,
    gap() {
      refresh();
      look();
    },
    areAwaited: () => list.items?.some(isAwaited) ?? false,
    learn,
    end() {
      list.stop();
      for (const each of [refresh, look]) each.stop();
    },
  };
}
