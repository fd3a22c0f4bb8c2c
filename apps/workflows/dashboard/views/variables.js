// Variables by name, with their values: what differs between the installations that one definition is for.

import { link } from "../api.js";
import { confirmed, field } from "../dialogs.js";
import { h } from "../dom.js";
import { parse, write } from "../json.js";
import { time } from "../time.js";
import { block } from "../ui.js";
import { named } from "./named.js";

const LONG = 200; // characters

const isText = (value) => typeof value === "string";

function shown({ name, value }) {
  if (value === "") return h("span", { class: "nothing" }, "empty");
  const text = isText(value) ? value : write(value);
  if (text.length <= LONG) return h("code", { class: "value" }, text);
  return h("details", null, h("summary", null, `${text.length.toLocaleString()} characters`), block(isText(value) ? value : write(value, 2), `Value of ${name}`));
}

const VARIABLES = {
  noun: "variable",
  title: "Variables",
  here: "#/system/variables",
  address: "/v1/vars",
  one: (name) => link`/v1/vars/${name}`,
  scope: "operator",
  lead: "What differs between installations, for all to read. Passwords and tokens are secrets.",
  nothing: "Addresses, names and limits that differ from one installation to the next are kept here under a name, and workflows refer to that name.",
  example: "BASE_URL",
  columns: [
    ["Value", shown, null],
    ["Kind", (variable) => (isText(variable.value) ? "Text" : "JSON"), null],
    ["Last change", (variable) => time(variable.updatedAt), "right"],
  ],
  isChangeable: () => true,
  mayReplace: (variable) => confirmed(`Give ${variable.name} a new value?`, "There is a variable of this name.", "Replace the value"),
  form(known) {
    let kind = null;
    let value = null;
    const before = known?.value ?? "";
    return {
      fields: [
        field("Kind", (attributes) => (kind = h("select", attributes, h("option", { value: "text", selected: isText(before) }, "Text"), h("option", { value: "json", selected: !isText(before) }, "JSON: a number, true, a list, an object")))),
        field("Value", (attributes) => (value = h("textarea", { ...attributes, class: "mono", rows: 4, spellcheck: "false", autocomplete: "off", value: isText(before) ? before : write(before) })), "Steps that begin from now on see it, and it stands in their histories."),
      ],
      value: () => (kind.value === "text" ? value.value : parsed(value.value)),
    };
  },
};

function parsed(text) {
  try {
    return parse(text);
  } catch {
    throw new Error("value is not JSON; choose Text where it is none");
  }
}

export function variables(root) {
  return named(root, VARIABLES);
}
