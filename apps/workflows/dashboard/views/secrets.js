// Secrets by name: their values are set here and shown nowhere.

import { link } from "../api.js";
import { confirmed, field } from "../dialogs.js";
import { h } from "../dom.js";
import { time } from "../time.js";
import { named } from "./named.js";

const isStored = (secret) => secret.source === "stored";

const SECRETS = {
  noun: "secret",
  title: "Secrets",
  here: "#/system/secrets",
  address: "/v1/secrets",
  one: (name) => link`/v1/secrets/${name}`,
  scope: "admin",
  lead: "Names only: a value is seen by nobody once it is stored.",
  nothing: "Passwords, tokens and keys that workflows need are kept here under a name, and workflows refer to that name.",
  example: "CRM_TOKEN",
  columns: [
    ["Kept", (secret) => (isStored(secret) ? "Stored here" : "Mounted by whoever runs the service"), null],
    ["Last change", (secret) => (isStored(secret) ? time(secret.updatedAt) : h("span", { class: "nothing" }, "–")), "right"],
  ],
  isChangeable: isStored,
  /** Whether a value that nobody can read again may be lost. */
  mayReplace: (secret) => !isStored(secret) || confirmed(`Give ${secret.name} a new value?`, "There is a secret of this name. The value that it has now is lost.", "Replace the value"),
  form() {
    let value = null;
    return {
      fields: [field("Value", (attributes) => (value = h("textarea", { ...attributes, class: "mono", rows: 4, spellcheck: "false", autocomplete: "off" })), "It is encrypted, and never shown again. What a template renders with it is redacted in logs.")],
      value: () => value.value,
    };
  },
};

export function secrets(root) {
  return named(root, SECRETS);
}
