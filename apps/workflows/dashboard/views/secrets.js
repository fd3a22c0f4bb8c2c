// Secrets by name: their values are set here and shown nowhere.

import { get, link, put, remove } from "../api.js";
import { confirmed, field, fill, mark } from "../dialogs.js";
import { h, show } from "../dom.js";
import { may } from "../session.js";
import { time } from "../time.js";
import { attempt, button, empty, loading, toast, trouble } from "../ui.js";
import { systemHead } from "./system.js";

export function secrets(root) {
  document.title = "Secrets – Workflows";
  const state = { items: null, error: null };
  let ended = false;

  async function read() {
    try {
      state.items = (await get("/v1/secrets")).items;
      state.error = null;
    } catch (error) {
      state.error = error;
    }
    if (!ended) draw();
  }

  /** Whether a value that nobody can read again may be lost. */
  async function mayReplace(name) {
    const { items } = await get("/v1/secrets");
    if (!items.some((each) => each.name === name && each.source === "stored")) return true;
    return confirmed(`Give ${name} a new value?`, "There is a secret of this name. The value that it has now is lost.", "Replace the value");
  }

  async function set(known = null) {
    let [name, value] = [];
    const stored = await fill(known ? `Give ${known} a new value` : "New secret", [
      known ? null : field("Name", (attributes) => (name = h("input", { ...attributes, autocomplete: "off", spellcheck: "false", class: "mono" })), "Letters, digits, - and _, as in CRM_TOKEN."),
      field("Value", (attributes) => (value = h("textarea", { ...attributes, class: "mono", rows: 4, spellcheck: "false", autocomplete: "off" })), "It is encrypted, and never shown again. What a template renders with it is redacted in logs."),
    ], "Store", async (_, say) => {
      const given = known ?? name.value.trim();
      if (given === "") {
        mark(name, "name is required");
        return null;
      }
      try {
        if (!known && !(await mayReplace(given))) return null;
        return await put(link`/v1/secrets/${given}`, { value: value.value });
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
    if (await attempt(async () => { await remove(link`/v1/secrets/${name}`); return true; })) toast(`${name} is deleted.`);
    await read();
  }

  function row(secret) {
    const isStored = secret.source === "stored";
    return h("tr", { key: secret.name },
      h("td", null, h("strong", { class: "mono" }, secret.name)),
      h("td", null, isStored ? "Stored here" : "Mounted by whoever runs the service"),
      h("td", { class: "right" }, isStored ? time(secret.updatedAt) : h("span", { class: "nothing" }, "–")),
      h("td", { class: "right" }, isStored && may("admin") ? h("div", { class: "actions end" },
        button("New value", () => set(secret.name), { kind: "plain small", "aria-label": `Give ${secret.name} a new value` }),
        button("Delete", () => forget(secret.name), { kind: "plain small danger", "aria-label": `Delete ${secret.name}` })) : null));
  }

  function list() {
    if (state.error && !state.items) return trouble(state.error, read);
    if (!state.items) return loading(3);
    if (!state.items.length) return empty("No secrets yet", "Passwords, tokens and keys that workflows need are kept here under a name, and workflows refer to that name.", may("admin") ? button("New secret", () => set(), { kind: "primary" }) : null);
    return h("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": "Secrets" }, h("table", null,
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "Name"), h("th", { scope: "col" }, "Kept"), h("th", { scope: "col", class: "right" }, "Last change"), h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, "What can be done")))),
      h("tbody", null, state.items.map(row))));
  }

  function draw() {
    show(root, systemHead("#/system/secrets", may("admin") && state.items?.length ? h("div", { class: "actions" }, button("New secret", () => set(), { kind: "primary" })) : null),
      h("p", { class: "lead quiet", key: "lead" }, "Names only: a value is seen by nobody once it is stored."),
      h("div", { key: "list" }, list()));
  }

  draw();
  read();
  return () => { ended = true; };
}
