// One workflow: what it does, when it runs, what became of its ticks, what it was before, and how its runs went.

import { get, link, post, query, remove, validate } from "../api.js";
import { confirmed } from "../dialogs.js";
import { h, show } from "../dom.js";
import { write } from "../json.js";
import { beginnings, calmly, watch } from "../live.js";
import { may } from "../session.js";
import { exactly, shortly, time, zone } from "../time.js";
import { attempt, badge, button, copier, crumbs, heading, isAwaited, isByHand, isOpen, isTaken, kindOf, loading, plural, sign, TAKEN, toast, triggerWords, trouble } from "../ui.js";
import { diff } from "./diff.js";
import { executionList } from "./executions.js";
import { runWith } from "./input.js";
import { occurrenceList } from "./occurrences.js";

const SET_BY_THE_SERVICE = ["version", "createdAt", "updatedAt", "nextRun", "lastExecution", "pausedAt", "recentExecutions", "retrySchedule", "warnings"];
const TICKS = 5;
const VERSIONS = 10;

/** The definition as its author writes it, of what the API shows. */
export function definitionOf(workflow) {
  const { status, ...trigger } = workflow.trigger;
  const rest = Object.fromEntries(Object.entries(workflow).filter(([name, value]) => !SET_BY_THE_SERVICE.includes(name) && value !== null));
  return { ...rest, trigger };
}

/** A definition in YAML, without what is so by default. */
export async function asYaml(definition) {
  const answer = await validate(write(definition), "json");
  return answer.concise ?? write(definition, 2);
}

/** The longest waits before its retries, in words. */
function retryWords(schedule) {
  const waits = schedule.longestWaits;
  if (!waits.length) return "no retries";
  const spoken = waits.slice(0, 4).map((seconds) => exactly(seconds * 1000)).join(", ");
  return `${plural(waits.length, "retry", "retries")} after at most ${spoken}${waits.length > 4 ? ", …" : ""}`;
}

export function workflow(root, id, parameters) {
  document.title = `${id} – Workflows`;
  const path = link`/v1/workflows/${id}`;
  const state = { found: null, ticks: [], yaml: "", versions: null, next: null, error: null, busy: false, compared: null };
  const history = h("div", { class: "list", opaque: true, key: "history" });
  const ledger = h("div", { class: "list", opaque: true, key: "ledger" });
  let asked = 0;
  let shown = 0; // which reading is shown: one that was begun before it may be answered after it
  let ended = false;
  let executions = null;
  let occurrences = null;
  let asksToRun = parameters.get("run") === "yes";

  async function read() {
    const mine = ++asked;
    try {
      const found = await get(path);
      const fresh = { found, error: null };
      const isNew = state.found?.version !== found.version;
      if (found.trigger.type !== "manual" && (isNew || state.found.nextRun !== found.nextRun)) {
        fresh.ticks = (await get(`${path}/schedule?count=${TICKS}`)).items.map((tick) => tick.dueAt);
        occurrences?.refresh();
      }
      if (isNew) {
        const [yaml, versions] = await Promise.all([asYaml(definitionOf(found)), get(`${path}/versions?limit=${VERSIONS}`)]);
        Object.assign(fresh, { yaml, versions: versions.items, next: versions.nextCursor });
      }
      if (ended || mine < shown) return;
      shown = mine;
      Object.assign(state, fresh);
    } catch (error) {
      state.error = error;
    }
    if (ended) return;
    draw();
    if (asksToRun && state.found && may("operator")) {
      asksToRun = false;
      // Whoever reloads the page, or comes back to it, does not ask once more.
      window.history.replaceState(window.history.state, "", link`#/workflows/${id}`);
      run();
    }
  }
  const settled = calmly(900, read);

  const lists = () => [executions, occurrences].filter(Boolean);

  /** The open execution that its head tells of, if that is the newest. */
  function openOne() {
    const last = state.found?.lastExecution;
    return last && isOpen(last) ? last : null;
  }

  function learn(running) {
    for (const each of lists()) each.learn(running);
    if (state.found?.trigger.status !== "pending" || !running.size) return;
    state.found.trigger.status = "busy";
    draw();
  }

  const isHeadAwaited = () => state.found?.trigger.status === "pending" && openOne() !== null && isAwaited(openOne());
  const begun = beginnings(() => isHeadAwaited() || lists().some((each) => each.areAwaited()), learn, id);

  function takesInput() {
    return state.found.inputSchema || /\binput\b/.test(JSON.stringify([state.found.actions, state.found.onFailure, state.found.finally]));
  }

  async function run() {
    const started = state.found.inputSchema ? await runWith(id, state.found.inputSchema) : await runPlainly();
    if (started && !ended) location.hash = link`#/executions/${started.executionId}`;
  }

  async function runPlainly() {
    state.busy = true;
    draw();
    const started = await attempt(() => post(`${path}/trigger`));
    state.busy = false;
    if (!started && !ended) draw();
    return started;
  }

  async function runWithJson() {
    const started = await runWith(id, null);
    if (started && !ended) location.hash = link`#/executions/${started.executionId}`;
  }

  async function archive() {
    if (!(await confirmed(`Archive ${id}?`, "It leaves the list, and nothing more is accepted; what is open or queued still runs. Its history stays, and creating it again brings it back.", "Archive"))) return;
    if (await attempt(async () => { await remove(path); return true; })) {
      toast(`${id} is archived.`);
      if (!ended) location.hash = "#/workflows";
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
      const written = await asYaml(older.definition);
      // When yet another version comes, this stays what it is: a comparison of these two.
      state.compared = { version, with: state.found.version, lines: diff(written, state.yaml) };
    }
    draw();
    // It stands further down than what was pressed.
    root.querySelector(".diff")?.focus();
  }

  async function olderVersions() {
    const page = await attempt(() => get(`${path}/versions${query({ limit: VERSIONS, cursor: state.next })}`));
    if (page) Object.assign(state, { versions: [...state.versions, ...page.items], next: page.nextCursor });
    draw();
  }

  function coming(found) {
    if (found.trigger.type === "manual") return null;
    const head = h("div", { class: "section-head" }, h("h2", null, "Next runs"), zone());
    const none = found.pausedAt ? ["None while it is paused, since ", time(found.pausedAt), "."] : ["None: its schedule is over."];
    return h("section", { class: "card pad", key: "coming" }, head, state.ticks.length
      ? h("ol", { class: "ticks" }, state.ticks.map((instant) => h("li", { key: instant }, h("span", { class: "when" }, shortly(instant)), h("span", { class: "quiet" }, time(instant, "until")))))
      : h("p", { class: "quiet" }, none));
  }

  function actions(found) {
    if (!may("operator")) return null;
    const taken = isTaken(found);
    const more = { disabled: taken || state.busy, title: taken ? TAKEN : null };
    return h("div", { class: "actions" },
      isByHand(found) ? button(found.inputSchema ? "Run…" : "Run now", run, { kind: "primary", key: "run", ...more }) : null,
      isByHand(found) && !found.inputSchema && takesInput() ? button("Run with input", runWithJson, { key: "input", ...more }) : null,
      found.trigger.type !== "manual" ? button(found.pausedAt ? "Resume" : "Pause", () => change(found.pausedAt ? "resume" : "pause"), { disabled: state.busy, key: "pause" }) : null,
      h("a", { class: "button", href: link`#/workflows/${id}/edit`, key: "edit" }, "Edit"),
      button("Archive", archive, { kind: "plain", key: "archive" }));
  }

  function versions(found) {
    const choices = (each) => [
      button(state.compared?.version === each.version ? "Hide" : "Compare", () => compare(each.version), { kind: "plain small", title: `Compare version ${each.version} with the current one` }),
      may("operator") ? button("Roll back", () => rollBack(each.version), { kind: "plain small", title: `Make version ${each.version} current again` }) : null,
    ];
    return h("section", { class: "card pad", key: "versions" }, h("div", { class: "section-head" }, h("h2", null, "Versions")),
      h("ol", { class: "versions" }, state.versions.map((each) => h("li", { key: each.version },
        h("strong", null, `Version ${each.version}`), h("span", { class: "quiet small-text" }, time(each.createdAt)),
        h("div", { class: "actions" }, each.version === found.version ? h("span", { class: "quiet small-text" }, "current") : each.definition ? choices(each) : h("span", { class: "quiet small-text", title: each.unreadable }, "cannot be read here"))))),
      state.next ? button("Older versions", olderVersions, { kind: "small" }) : null);
  }

  function definition(found) {
    if (state.compared) {
      const marks = { added: "+ ", removed: "− ", same: "  " };
      return h("div", { key: "diff" },
        h("div", { class: "section-head" }, h("h2", null, `From version ${state.compared.version} to ${state.compared.with}`), h("div", { class: "actions" }, button("Show the definition", () => { state.compared = null; draw(); }, { kind: "small" }))),
        h("div", { class: "card diff mono scroll", tabindex: "0", role: "region", "aria-label": "Difference" }, state.compared.lines.map(([kind, line]) => h("div", { class: kind }, `${marks[kind]}${line}`))));
    }
    return h("div", { key: "definition" },
      h("div", { class: "section-head" }, h("h2", null, "Definition"), h("span", { class: "quiet small-text" }, `version ${found.version}, stored `, time(found.updatedAt)), h("div", { class: "actions" }, copier(() => state.yaml))),
      h("pre", { class: "card code", tabindex: "0", role: "region", "aria-label": "Definition in YAML" }, state.yaml.trimEnd()));
  }

  function present(found) {
    if (found.trigger.status === "busy") return badge("running");
    if (found.trigger.status === "pending") return badge(openOne() ? kindOf(openOne()) : "queued");
    return badge(found.pausedAt ? "paused" : "idle");
  }

  function draw() {
    if (ended) return;
    const found = state.found;
    if (!found) {
      show(root, heading(id), state.error ? [trouble(state.error, read), h("p", null, h("a", { href: "#/workflows" }, "See all workflows"))] : loading(5));
      return;
    }
    const isScheduled = found.trigger.type !== "manual";
    const webhook = new URL(link`/v1/workflows/${id}/webhook`, location).href;
    show(root,
      crumbs(h("a", { href: "#/workflows" }, "Workflows"), id),
      h("div", { class: "head", key: "head" }, h("h1", { tabindex: "-1" }, id), h("span", { role: "status" }, present(found)), actions(found)),
      found.description ? h("p", { class: "description", key: "description" }, found.description) : null,
      h("p", { class: "summary quiet", key: "summary" }, [
        [triggerWords(found.trigger)],
        found.webhook ? ["also by webhook ", h("code", null, webhook), " ", copier(() => webhook, "Copy address")] : null,
        found.kafka ? ["also by each record of topic ", h("code", null, found.kafka.topic)] : null,
        found.nextRun ? ["next run ", time(found.nextRun, "until")] : null,
        [plural(found.actions.length, "action")],
        [retryWords(found.retrySchedule)],
      ].filter(Boolean).map((part) => h("span", null, part))),
      missed(found.warnings),
      h("div", { class: "section two", key: "runs" },
        h("section", { "aria-label": "Executions" }, h("div", { class: "section-head" }, h("h2", null, "Executions"), h("div", { class: "actions" }, h("a", { href: link`#/executions?workflow=${id}`, class: "small-text" }, "See all"))), history),
        h("div", { class: "side" }, coming(found), versions(found))),
      isScheduled ? h("section", { class: "section", key: "ledger", "aria-label": "Occurrences" }, h("div", { class: "section-head" }, h("h2", null, "Occurrences"), h("span", { class: "quiet small-text" }, "what became of each tick"), zone()), ledger) : null,
      h("section", { class: "section", key: "definition", "aria-label": "Definition" }, definition(found)));
    executions ??= executionList(history, { only: id, begun });
    if (isScheduled) occurrences ??= occurrenceList(ledger, id, begun);
  }

  /** What would make an execution fail that began now. */
  function missed(warnings) {
    if (!warnings.length) return null;
    return h("div", { class: "notice notice-warn", key: "missed" }, sign("waiting"), h("div", null, h("strong", null, "It would fail if it ran now"),
      h("ul", null, warnings.map(({ field, message }) => h("li", { key: field + message }, h("code", null, field), ` ${message}`)))));
  }

  draw();
  read();
  const end = watch({ workflowId: id }, (name, data) => {
    executions?.note(name, data);
    occurrences?.note(name, data);
    settled();
  }, () => {
    executions?.gap();
    occurrences?.gap();
    settled();
    begun();
  });
  return () => {
    ended = true;
    end();
    executions?.end();
    occurrences?.end();
    settled.stop();
    begun.stop();
  };
}
