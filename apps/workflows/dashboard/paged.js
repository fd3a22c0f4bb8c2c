// Lists that are read page by page.

import { get } from "./api.js";
import { h } from "./dom.js";
import { button, loading, toast, trouble } from "./ui.js";

/** A list whose pages are at `address(cursor)`; `draw` is called whenever something has changed. */
export function paged(address, draw) {
  let asked = 0;
  const list = {
    items: null,
    next: null,
    error: null,
    more: false,

    /** Read the first page; what is shown stays until it is there. */
    async read() {
      const mine = ++asked;
      try {
        const page = await get(address(null));
        if (mine !== asked) return;
        Object.assign(list, { items: page.items, next: page.nextCursor ?? null, error: null });
      } catch (error) {
        if (mine !== asked) return;
        list.error = error;
      }
      draw();
    },

    /** Begin anew: something else is asked for. */
    async begin() {
      list.items = null;
      list.error = null;
      draw();
      await list.read();
    },

    async readMore() {
      const mine = asked;
      list.more = true;
      draw();
      try {
        const page = await get(address(list.next));
        if (mine === asked) Object.assign(list, { items: [...list.items, ...page.items], next: page.nextCursor ?? null });
      } catch (error) {
        toast(error.message, { kind: "bad" });
      }
      list.more = false;
      draw();
    },

    stop() {
      asked += 1;
    },

    /** What is shown: `filled(items)`, `nothing()`, or how the reading goes. */
    show(filled, nothing, { rows = 6, older = "Show older", kind = "" } = {}) {
      if (list.error && !list.items) return trouble(list.error, list.read);
      if (!list.items) return loading(rows);
      if (!list.items.length) return nothing();
      return [filled(list.items), h("div", { class: "more" }, list.next ? button(list.more ? "Reading…" : older, list.readMore, { disabled: list.more, kind }) : null)];
    },
  };
  return list;
}
