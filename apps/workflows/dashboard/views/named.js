// What is kept under a name, secrets and variables alike: a list, and dialogs to set and to delete.

import { get, put, remove } from "../api.js";
import { confirmed, field, fill, mark } from "../dialogs.js";
import { h, show } from "../dom.js";
import { may } from "../session.js";
import { attempt, button, empty, loading, toast, trouble } from "../ui.js";
import { systemHead } from "./system.js";

/**
 * Show one kind of them. `kind` says what it is called (`noun`, `title`), where it stands (`here`, `address`, `one(name)`), who may change
 * it (`scope`), its words (`lead`, `nothing`, `example`, `forgotten`), its columns (heading, cell, class), which items can be changed, whether
 * the value of one that is there may be replaced (`mayReplace`), and the fields of a value, of which `value()` makes what is sent.
 */
export function named(root, kind) {
  document.title = `${kind.title} – Workflows`;
  const state = { items: null, error: null };
  let ended = false;

  async function read() {
    try {
      state.items = (await get(kind.address)).items;
      state.error = null;
    } catch (error) {
      state.error = error;
    }
    if (!ended) draw();
  }

  async function mayReplace(name) {
    const { items } = await get(kind.address);
    const there = items.find((each) => each.name === name);
    return !there || kind.mayReplace(there);
  }

  async function set(known = null) {
    let name = null;
    const { fields, value } = kind.form(known);
    const stored = await fill(known ? `Give ${known.name} a new value` : `New ${kind.noun}`, [
      known ? null : field("Name", (attributes) => (name = h("input", { ...attributes, autocomplete: "off", spellcheck: "false", class: "mono" })), `Letters, digits, - and _, as in ${kind.example}.`),
      ...fields,
    ], "Store", async (_, say) => {
      const given = known ? known.name : name.value.trim();
      if (given === "") {
        mark(name, "name is required");
        return null;
      }
      try {
        const body = { value: value() };
        if (!known && !(await mayReplace(given))) return null;
        return await put(kind.one(given), body);
      } catch (error) {
        say(error.errors?.length ? error.errors.map((each) => `${each.field} ${each.message}`).join(". ") : error.message);
        return null;
      }
    }, "wide");
    if (!stored) return;
    toast(`${stored.name} is stored.`);
    await read();
  }

  async function forget(name) {
    if (!(await confirmed(`Delete ${name}?`, "Workflows that refer to it fail from then on.", "Delete"))) return;
    if (await attempt(async () => { await remove(kind.one(name)); return true; })) toast(`${name} is deleted.`);
    await read();
  }

  function row(item) {
    return h("tr", { key: item.name },
      h("td", null, h("strong", { class: "mono" }, item.name)),
      kind.columns.map(([, cell, look]) => h("td", { class: look }, cell(item))),
      h("td", { class: "right" }, may(kind.scope) && kind.isChangeable(item) ? h("div", { class: "actions end" },
        button("New value", () => set(item), { kind: "plain small", "aria-label": `Give ${item.name} a new value` }),
        button("Delete", () => forget(item.name), { kind: "plain small danger", "aria-label": `Delete ${item.name}` })) : null));
  }

  const toMakeOne = () => (may(kind.scope) ? button(`New ${kind.noun}`, () => set(), { kind: "primary" }) : null);

  function list() {
    if (state.error && !state.items) return trouble(state.error, read);
    if (!state.items) return loading(3);
    if (!state.items.length) return empty(`No ${kind.title.toLowerCase()} yet`, kind.nothing, toMakeOne());
    return h("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": kind.title }, h("table", null,
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "Name"), kind.columns.map(([heading, , look]) => h("th", { scope: "col", class: look }, heading)), h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, "What can be done")))),
      h("tbody", null, state.items.map(row))));
  }

  function draw() {
    show(root, systemHead(kind.here, state.items?.length && may(kind.scope) ? h("div", { class: "actions" }, toMakeOne()) : null),
      h("p", { class: "lead quiet", key: "lead" }, kind.lead),
      h("div", { key: "list" }, list()));
  }

  draw();
  read();
  return () => { ended = true; };
}
