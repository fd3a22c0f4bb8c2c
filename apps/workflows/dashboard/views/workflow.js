// One workflow: what it does, when it runs, what it was before, and how its runs went.

import { get, post, remove, validate } from "../api.js";
import { h, show } from "../dom.js";
import { calmly, watch } from "../live.js";
import { exactly, shortly, time } from "../time.js";
import { attempt, badge, button, confirmed, heading, isTaken, loading, toast, triggerWords, trouble } from "../ui.js";
import { diff } from "./diff.js";
import { executionList } from "./executions.js";

const SET_BY_THE_SERVICE = ["version", "createdAt", "updatedAt", "nextRun", "lastExecution", "pausedAt", "recentExecutions", "retrySchedule"];

/** The definition as its author writes it, of what the API shows. */
export function definitionOf(workflow) {
  const { status, ...trigger } = workflow.trigger;
  const rest = Object.fromEntries(Object.entries(workflow).filter(([name, value]) => !SET_BY_THE_SERVICE.includes(name) && value !== null));
  return { ...rest, trigger };
}

export async function asYaml(definition) {
  const answer = await validate(JSON.stringify(definition), "json");
  return answer.yaml ?? JSON.stringify(definition, null, 2);
}

export function workflow(root, id) {
  document.title = `${id} – Workflows`;
  const path = `/v1/workflows/${encodeURIComponent(id)}`;
  const state = { found: null, ticks: [], yaml: "", versions: null, next: null, error: null, busy: false, compared: null };
  const history = h("div", { opaque: true, key: "history" });
  let ended = false;
  let endList = null;

  async function read() {
    try {
      const found = await get(path);
      if (ended) return;
      const isNew = state.found?.version !== found.version;
      if (found.trigger.type !== "manual" && (isNew || state.found.nextRun !== found.nextRun)) {
        state.ticks = (await get(`${path}/schedule?count=5`)).items.map((tick) => tick.dueAt);
      }
      state.found = found;
      state.error = null;
      if (isNew) {
        const [yaml, versions] = await Promise.all([asYaml(definitionOf(found)), get(`${path}/versions?limit=10`)]);
        Object.assign(state, { yaml, versions: versions.items, next: versions.nextCursor });
      }
    } catch (error) {
      state.error = error;
    }
    if (!ended) draw();
  }
  const settled = calmly(900, read);

  async function run(body) {
    state.busy = true;
    draw();
    const started = await attempt(() => post(`${path}/trigger`, body));
    state.busy = false;
    if (started) location.hash = `#/executions/${started.executionId}`;
    else if (!ended) draw();
  }

  function runWithInput() {
    const field = h("textarea", { id: "input", spellcheck: "false", value: "{\n  \n}" });
    const flaw = h("p", { class: "why", role: "alert" });
    const close = () => { dialog.close(); dialog.remove(); };
    const dialog = h("dialog", { "aria-labelledby": "input-title", on: { cancel: close } },
      h("h2", { id: "input-title" }, "Run with input"), h("p", null, h("label", { for: "input" }, "A JSON object that the actions can refer to.")), field, flaw,
      h("div", { class: "actions" }, button("Close", close), button("Run", () => {
        try {
          const input = JSON.parse(field.value || "{}");
          close();
          run({ input });
        } catch (error) {
          flaw.textContent = `This is not JSON: ${error.message}`;
        }
      }, { kind: "primary" })));
    document.body.append(dialog);
    dialog.showModal();
  }

  async function archive() {
    if (!(await confirmed(`Archive ${id}?`, "It runs no more and leaves the list. Its history stays, and creating it again brings it back.", "Archive"))) return;
    if ((await attempt(async () => { await remove(path); return true; }))) {
      toast(`${id} is archived.`);
      location.hash = "#/workflows";
    }
  }

  async function change(word) {
    state.busy = true;
    draw();
    await attempt(() => post(`${path}/${word}`));
    state.busy = false;
    await read();
  }

  async function rollBack(version) {
    if (!(await confirmed(`Go back to version ${version}?`, `Its definition becomes version ${state.found.version + 1}. Nothing is lost: version ${state.found.version} stays in the list.`, "Roll back"))) return;
    if (await attempt(() => post(`${path}/rollback`, { version }))) {
      toast(`Rolled back to version ${version}.`);
      state.compared = null;
      await read();
    }
  }

  async function compare(version) {
    if (state.compared?.version === version) {
      state.compared = null;
    } else {
      const older = state.versions.find((each) => each.version === version);
      state.compared = { version, lines: diff(await asYaml(older.definition), state.yaml) };
    }
    draw();
  }

  async function olderVersions() {
    const page = await attempt(() => get(`${path}/versions?limit=10&cursor=${state.next}`));
    if (page) Object.assign(state, { versions: [...state.versions, ...page.items], next: page.nextCursor });
    draw();
  }

  function coming(found) {
    const times = state.ticks;
    if (found.trigger.type === "manual") return null;
    if (!times.length) return h("section", { class: "card pad", key: "coming" }, h("div", { class: "section-head" }, h("h2", null, "Next runs")), h("p", { class: "quiet" }, found.pausedAt ? "None while it is paused." : "None."));
    return h("section", { class: "card pad", key: "coming" }, h("div", { class: "section-head" }, h("h2", null, "Next runs")),
      h("ol", { class: "ticks" }, times.slice(0, 5).map((instant) => h("li", { key: instant }, h("span", { title: exactly(instant) }, shortly(instant)), h("span", { class: "quiet" }, time(instant, "until"))))));
  }

  function actions(found) {
    const byHand = found.trigger.type === "manual" || found.trigger.allowManual;
    const open = isTaken(found);
    return [
      byHand ? button("Run now", () => run(), { kind: "primary", disabled: open || state.busy, key: "run", title: open ? "An execution is open; it can run again when that has ended." : null }) : null,
      byHand && found.inputSchema ? button("Run with input", runWithInput, { disabled: open || state.busy, key: "input" }) : null,
      found.trigger.type !== "manual"
        ? button(found.pausedAt ? "Resume" : "Pause", () => change(found.pausedAt ? "resume" : "pause"), { disabled: state.busy, key: "pause" }) : null,
      h("a", { class: "button", href: `#/workflows/${encodeURIComponent(id)}/edit`, key: "edit" }, "Edit"),
      button("Archive", archive, { kind: "plain", key: "archive" }),
    ];
  }

  function versions(found) {
    return h("section", { class: "card pad", key: "versions" }, h("div", { class: "section-head" }, h("h2", null, "Versions")),
      h("ol", { class: "versions" }, (state.versions ?? []).map((each) => h("li", { key: each.version },
        h("strong", null, `Version ${each.version}`), h("span", { class: "quiet small-text" }, time(each.createdAt)),
        h("div", { class: "actions" }, each.version === found.version ? h("span", { class: "quiet small-text" }, "current") : [
          button(state.compared?.version === each.version ? "Hide" : "Compare", () => compare(each.version), { kind: "plain small", title: `Compare version ${each.version} with the current one` }),
          button("Roll back", () => rollBack(each.version), { kind: "plain small", title: `Make version ${each.version} current again` })])))),
      state.next ? button("Older versions", olderVersions, { kind: "small" }) : null);
  }

  function definition(found) {
    if (state.compared) {
      return h("div", { key: "diff" }, h("div", { class: "section-head" }, h("h2", null, `From version ${state.compared.version} to ${found.version}`), h("div", { class: "actions" }, button("Show the definition", () => { state.compared = null; draw(); }, { kind: "small" }))),
        h("div", { class: "card diff mono scroll", tabindex: "0", role: "region", "aria-label": "Difference" }, state.compared.lines.map(([kind, line]) => h("div", { class: kind }, `${{ added: "+ ", removed: "− ", same: "  " }[kind]}${line}`))));
    }
    return h("div", { key: "definition" }, h("div", { class: "section-head" }, h("h2", null, "Definition"), h("span", { class: "quiet small-text" }, `version ${found.version}, stored `, time(found.updatedAt))),
      h("pre", { class: "card code", tabindex: "0", "aria-label": "Definition in YAML" }, state.yaml.trimEnd()));
  }

  function draw() {
    if (ended) return;
    const found = state.found;
    if (!found || !state.versions) {
      show(root, heading(id), state.error ? [trouble(state.error, read), h("p", null, h("a", { href: "#/workflows" }, "See all workflows"))] : loading(5));
      return;
    }
    const kind = found.trigger.status === "busy" ? "running" : found.trigger.status === "pending" ? "waiting" : "idle";
    show(root,
      h("p", { class: "crumbs", key: "crumbs" }, h("a", { href: "#/workflows" }, "Workflows"), ` / ${id}`),
      h("div", { class: "head", key: "head" }, h("h1", { tabindex: "-1" }, id), h("span", { role: "status" }, badge(found.pausedAt ? "cancelled" : kind, found.pausedAt ? "Paused" : undefined)), h("div", { class: "actions" }, actions(found))),
      h("p", { class: "quiet", key: "when" }, triggerWords(found.trigger), found.nextRun ? [", next run ", time(found.nextRun, "until")] : null, `, ${found.actions.length} ${found.actions.length === 1 ? "action" : "actions"}, up to ${found.retries} ${found.retries === 1 ? "retry" : "retries"}`),
      h("section", { class: "section", key: "executions", "aria-label": "Executions" }, h("div", { class: "section-head" }, h("h2", null, "Executions"), h("div", { class: "actions" }, h("a", { href: `#/executions?workflow=${encodeURIComponent(id)}`, class: "small-text" }, "See all"))), history),
      h("div", { class: "section two", key: "two" }, h("section", { "aria-label": "Definition" }, definition(found)), h("div", { class: "side" }, coming(found), versions(found))));
    if (!endList) endList = executionList(history, { workflowId: id, compact: true });
  }

  draw();
  read();
  const end = watch({ workflowId: id }, settled, settled);
  return () => {
    ended = true;
    end();
    endList?.();
    settled.stop();
  };
}
