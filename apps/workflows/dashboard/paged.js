// Lists that are read page by page, and brought up to date while they are shown: without a hole between two pages, and
// without what was asked for before something else was.

import { get } from "./api.js";
import { h } from "./dom.js";
import { button, loading, toast, trouble } from "./ui.js";

const CUT = Symbol("cut"); // stands for the cursor to what was cut off, which the service has not told
const MOST = 300; // rows that stay of what was paged in while new ones come at the top

/**
 * A list whose pages are at `address(cursor)`; `draw` is called whenever something has changed. What happens is taken into it by
 * `note`. Where pages have a `size` and `isBelow(one, other)` says whether one item stands below another, what was paged in
 * stays when the first page is read again. `memory` is what `remember` has kept.
 */
export function paged(address, draw, { size = Infinity, isBelow = () => true, note = () => {}, memory = {} } = {}) {
  const readings = []; // that are not answered yet: what is told meanwhile, which they may not know of
  let chain = 0; // which pages an older one belongs to

  function letGo() {
    chain += 1;
    list.more = false;
  }

  const list = {
    items: memory.items ?? null,
    next: memory.next ?? null,
    error: null,
    more: false,

    /** Read the first page and `place` it; what is shown stays until it is there. */
    async read(place = list.join) {
      const missed = [];
      readings.push(missed);
      const answer = await get(address(null)).then((page) => ({ page, error: null }), (error) => ({ page: null, error }));
      const turn = readings.indexOf(missed);
      if (turn < 0) return; // one that was begun later is shown, or something else is asked for
      readings.splice(0, turn + 1);
      if (answer.page) place(answer.page);
      list.error = answer.error;
      for (const each of missed) note(...each);
      draw();
    },

    /** Begin anew: something else is asked for. */
    async begin() {
      readings.length = 0;
      letGo();
      list.items = null;
      list.error = null;
      draw();
      await list.read();
    },

    /** Show a first page, above what was paged in. */
    join(page) {
      const shown = list.items ?? [];
      const last = page.items.at(-1);
      const isDeep = list.next !== CUT && (list.more || shown.length > size);
      // Where it does not reach down to what is shown, there would be a hole between them.
      const reaches = isDeep && last && shown.length && !isBelow(shown[0], last);
      if (!reaches) letGo();
      const below = reaches ? shown.filter((each) => isBelow(each, last)) : [];
      if (!below.length) list.next = page.nextCursor ?? null;
      list.items = [...page.items, ...below];
    },

    async readMore() {
      const begun = chain;
      // Again where another reading, which leads no further, has overtaken it.
      while (list.next === CUT && begun === chain) {
        await list.read();
        if (list.error) {
          toast(list.error.message, { kind: "bad" });
          return;
        }
      }
      if (!list.next || list.next === CUT) return;
      const mine = chain;
      list.more = true;
      draw();
      try {
        const page = await get(address(list.next));
        if (mine !== chain) return;
        const last = list.items.at(-1);
        Object.assign(list, { items: [...list.items, ...page.items.filter((each) => !last || isBelow(each, last))], next: page.nextCursor ?? null });
      } catch (error) {
        if (mine !== chain) return;
        toast(error.message, { kind: "bad" });
      }
      list.more = false;
      draw();
    },

    /** Show one that has come. */
    add(item) {
      list.items = [...list.items, item].sort((one, other) => (isBelow(one, other) ? 1 : -1));
      if (list.items.length <= (list.more || list.items.length > size + 1 ? MOST : size)) return;
      list.items = list.items.slice(0, size);
      list.next = CUT;
    },

    /** Take in what happens, once more when the page is there that is being read. */
    hear(...event) {
      for (const missed of readings) missed.push(event);
      note(...event);
    },

    remember() {
      Object.assign(memory, { items: list.items, next: list.next });
    },

    stop() {
      readings.length = 0;
      letGo();
    },

    /** What is shown: `filled(items)`, `nothing()`, or how the reading goes. */
    show(filled, nothing, { rows = 6, older = "Show older", kind = "" } = {}) {
      if (list.error && !list.items) return trouble(list.error, () => list.read());
      if (!list.items) return loading(rows);
      if (!list.items.length) return nothing();
      return [filled(list.items), h("div", { class: "more" }, list.next ? button(list.more ? "Reading…" : older, list.readMore, { disabled: list.more, kind }) : null)];
    },
  };
  return list;
}
