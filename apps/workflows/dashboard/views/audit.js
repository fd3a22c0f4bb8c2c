// Who changed what, when, and the difference.

import { link, query } from "../api.js";
import { h, show } from "../dom.js";
import { write } from "../json.js";
import { afterTyping } from "../live.js";
import { paged } from "../paged.js";
import { may } from "../session.js";
import { shortly, time } from "../time.js";
import { block, button, empty, forbidden, plural, shortId } from "../ui.js";
import { systemHead } from "./system.js";

const PAGE = 30;
const OPERATIONS = {
  createWorkflow: "Created a workflow",
  replaceWorkflow: "Changed a workflow",
  rollBackWorkflow: "Rolled a workflow back",
  archiveWorkflow: "Archived a workflow",
  pauseWorkflow: "Paused a workflow",
  resumeWorkflow: "Resumed a workflow",
  triggerWorkflow: "Ran a workflow",
  backfillWorkflow: "Backfilled a workflow",
  cancelBackfill: "Cancelled a backfill",
  cancelExecution: "Cancelled an execution",
  retryExecution: "Retried an execution",
  runExecutionAgain: "Ran an execution again",
  resendDeadLetter: "Sent a dead letter again",
  createToken: "Made a token",
  revokeToken: "Revoked a token",
  setSecret: "Set a secret",
  deleteSecret: "Deleted a secret",
  setVariable: "Set a variable",
  deleteVariable: "Deleted a variable",
  rotateSecrets: "Encrypted the secrets anew",
  login: "Logged in",
  logout: "Logged out",
};

/** What was changed, with its view where there is one. What was made has its name in what came to be. */
function placeOf(entry) {
  const [, kind, part] = entry.path.split("/");
  const made = entry.changes[0]?.after;
  const id = part ? decodeURIComponent(part) : made?.workflowId ?? made?.name;
  if (!id) return null;
  if (kind === "workflows") return { href: link`#/workflows/${id}`, text: id };
  if (kind === "executions") return { href: link`#/executions/${id}`, text: `…${shortId(id)}` };
  return { href: null, text: id };
}

function written(value) {
  if (value === null || value === undefined) return h("span", { class: "nothing" }, "–");
  return h("code", null, typeof value === "string" ? value : write(value));
}

export function audit(root, _, parameters) {
  document.title = "Audit log – Workflows";
  if (!may("admin")) {
    show(root, systemHead("#/system/audit"), forbidden("admin"));
    return null;
  }
  const filters = { who: parameters.get("who") ?? "", operation: parameters.get("operation") ?? "", path: parameters.get("path") ?? "" };
  const list = paged((cursor) => `/v1/audit${query({ limit: PAGE, ...filters, cursor })}`, draw);

  function filter() {
    history.replaceState(history.state, "", `#/system/audit${query(filters)}`);
    list.begin();
  }
  const typed = afterTyping(400, filter);

  const text = (name, label) => h("input", { type: "search", class: "grow", placeholder: label, "aria-label": label, value: filters[name], on: { input: (event) => { filters[name] = event.target.value.trim(); typed(); } } });

  function difference(entry) {
    if (!entry.changes.length) return null;
    const [{ path, before, after }] = entry.changes;
    if (path === "") return h("details", null, h("summary", null, before === null ? "What was made" : "What was removed"), block(write(after ?? before, 2), `Content of ${entry.entryId}`));
    return h("details", null, h("summary", null, plural(entry.changes.length, "place"), " changed"),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Difference of ${entry.entryId}` }, h("table", { class: "changes" },
        h("thead", null, h("tr", null, ["Where", "Before", "After"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", null, entry.changes.map((each) => h("tr", { key: each.path }, h("td", { class: "mono" }, each.path), h("td", null, written(each.before)), h("td", null, written(each.after))))))));
  }

  function row(entry) {
    const place = placeOf(entry);
    return h("li", { class: "row entry", key: entry.entryId },
      h("div", { class: "entry-head" },
        h("div", { class: "cell-name" }, h("strong", null, OPERATIONS[entry.operation] ?? entry.operation), place ? [" ", place.href ? h("a", { href: place.href, class: "entry-place" }, place.text) : h("span", { class: "entry-place quiet" }, place.text)] : null,
          h("span", { class: "sub" }, `${entry.who}${entry.address ? ` from ${entry.address}` : ""}, request `, h("span", { class: "mono" }, entry.requestId))),
        h("div", { class: "quiet right" }, time(entry.at), h("span", { class: "sub" }, shortly(entry.at)))),
      difference(entry));
  }

  function draw() {
    show(root, systemHead("#/system/audit"),
      h("div", { class: "filters", role: "search", key: "filters" },
        h("select", { "aria-label": "What was done", value: filters.operation, on: { change: (event) => { filters.operation = event.target.value; filter(); } } },
          [["", "Anything done"], ...Object.entries(OPERATIONS)].map(([value, label]) => h("option", { value }, label))),
        text("who", "Who, as the token is named"),
        text("path", "Path, as in /workflows/hello")),
      h("div", { key: "list" }, list.show(
        (items) => h("ul", { class: "rows card", "aria-label": "Changes" }, items.map(row)),
        () => (Object.values(filters).some(Boolean)
          ? empty("Nothing matches", "No change is like that. Names and paths are compared as a whole.", button("Show all", () => { Object.assign(filters, { who: "", operation: "", path: "" }); filter(); }))
          : empty("Nothing has been changed yet", "Every change is written down here: who made it, when, and the difference.")),
      )));
  }

  draw();
  list.read();
  return () => {
    list.stop();
    typed.stop();
  };
}
