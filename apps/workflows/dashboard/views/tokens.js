// Who may use the API: tokens are made, shown once, and revoked.

import { get, link, post, remove } from "../api.js";
import { ask, confirmed, field, fill } from "../dialogs.js";
import { h, show } from "../dom.js";
import { may, whoIs } from "../session.js";
import { time } from "../time.js";
import { attempt, badge, button, copier, empty, forbidden, loading, toast, trouble } from "../ui.js";
import { systemHead } from "./system.js";

const SCOPES = [["viewer", "viewer: looks"], ["operator", "operator: also changes workflows and variables, and starts executions"], ["admin", "admin: also secrets, tokens and the audit log"]];
const LIVES = [["", "never"], ["24h", "after a day"], ["168h", "after a week"], ["720h", "after 30 days"], ["2160h", "after 90 days"], ["8760h", "after a year"]];

export function tokens(root) {
  document.title = "Tokens – Workflows";
  if (!may("admin")) {
    show(root, systemHead("#/system/tokens"), forbidden("admin"));
    return null;
  }
  const state = { items: null, error: null };
  let ended = false;

  async function read() {
    try {
      state.items = (await get("/v1/tokens")).items.reverse();
      state.error = null;
    } catch (error) {
      state.error = error;
    }
    if (!ended) draw();
  }

  async function make() {
    let [name, scope, life] = [];
    const made = await fill("New token", [
      field("Name", (attributes) => (name = h("input", { ...attributes, autocomplete: "off", maxlength: 100 })), "Who or what uses it: it stands in the audit log."),
      field("Scope", (attributes) => (scope = h("select", { ...attributes, value: "viewer" }, SCOPES.map(([value, words]) => h("option", { value }, words))))),
      field("Expires", (attributes) => (life = h("select", { ...attributes, value: "2160h" }, LIVES.map(([value, words]) => h("option", { value }, words))))),
    ], "Make the token", async (_, say) => {
      try {
        return await post("/v1/tokens", { name: name.value.trim(), scope: scope.value, ...(life.value ? { expiresIn: life.value } : {}) });
      } catch (error) {
        say(error.errors?.length ? error.errors.map((each) => `${each.field} ${each.message}`).join(". ") : error.message);
        return null;
      }
    }, "wide");
    if (!made) return;
    await read();
    await ask("Keep this token now", (close) => [
      h("p", null, `It is the token of ${made.name}. It is stored nowhere and cannot be shown again.`),
      h("pre", { class: "log secret", tabindex: "0", role: "region", "aria-label": "Token" }, made.token),
      h("div", { class: "actions" }, copier(() => made.token), button("I have it", () => close(true), { kind: "primary" })),
    ], "wide");
  }

  async function revoke(token) {
    const own = token.tokenId === whoIs().tokenId ? " It is the one that you are logged in with: you will be logged out." : "";
    if (!(await confirmed(`Revoke ${token.name}?`, `Whoever uses it is turned away within five seconds, for good.${own}`, "Revoke"))) return;
    if (await attempt(async () => { await remove(link`/v1/tokens/${token.tokenId}`); return true; })) toast(`${token.name} is revoked.`);
    await read();
  }

  function statusOf(token) {
    if (token.revokedAt) return ["cancelled", "Revoked"];
    if (token.expiresAt && Date.parse(token.expiresAt) <= Date.now()) return ["missed", "Expired"];
    return ["ok", "Good"];
  }

  function row(token) {
    const [kind, word] = statusOf(token);
    return h("tr", { key: token.tokenId },
      h("td", null, h("strong", null, token.name), h("span", { class: "sub mono" }, token.tokenId)),
      h("td", null, token.scope),
      h("td", null, badge(kind, word)),
      h("td", { class: "right" }, time(token.createdAt)),
      h("td", { class: "right" }, token.lastUsedAt ? time(token.lastUsedAt) : h("span", { class: "nothing" }, "Never")),
      h("td", { class: "right" }, token.expiresAt ? time(token.expiresAt, "until") : h("span", { class: "nothing" }, "Never")),
      h("td", { class: "right" }, kind === "ok" ? button("Revoke", () => revoke(token), { kind: "plain small danger", "aria-label": `Revoke ${token.name}` }) : null));
  }

  function list() {
    if (state.error && !state.items) return trouble(state.error, read);
    if (!state.items) return loading(4);
    if (!state.items.length) return empty("No tokens yet", "With AUTH=tokens, whoever uses the API or this page needs one. Make the first one here or by wf tokens create, before you turn it on.", button("New token", make, { kind: "primary" }));
    return h("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": "Tokens" }, h("table", null,
      h("thead", null, h("tr", null, ["Name", "Scope", "Status"].map((name) => h("th", { scope: "col" }, name)), ["Made", "Last used", "Expires"].map((name) => h("th", { scope: "col", class: "right" }, name)), h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, "What can be done")))),
      h("tbody", null, state.items.map(row))));
  }

  function draw() {
    show(root, systemHead("#/system/tokens", state.items?.length ? h("div", { class: "actions" }, button("New token", make, { kind: "primary" })) : null),
      h("p", { class: "lead quiet", key: "lead" }, "Each person and program has a token of its own, with no more scope than it needs."),
      h("div", { key: "list" }, list()));
  }

  draw();
  read();
  return () => { ended = true; };
}
