// One execution: what ran when, what it said, why it was tried again, and what can be done about it.

import { get, link, post, query } from "../api.js";
import { confirmed } from "../dialogs.js";
import { h, show } from "../dom.js";
import { write } from "../json.js";
import { calmly, looking, watch } from "../live.js";
import { may } from "../session.js";
import { duration, shortly, time, took, zone } from "../time.js";
import { attempt, awaitedWords, badge, button, CAUSES, copier, crumbs, heading, isAwaited, isOpen, kindOf, loading, other, plural, sign, toast, trouble } from "../ui.js";
import { signalWith } from "./input.js";
import { lane } from "./lane.js";
import { children, cutsShort, step } from "./outcome.js";
import { stepsOf, whyAgain } from "./plan.js";

export function execution(root, id) {
  document.title = "Execution – Workflows";
  const state = { found: null, definition: null, steps: new Map(), isArchived: false, error: null, busy: false };
  const told = []; // while it is read for the first time, which may not know of it yet
  let asked = 0;
  let shown = 0; // which reading is shown: one that was begun before it may be answered after it
  let ended = false;

  async function read() {
    const mine = ++asked;
    try {
      const found = await get(link`/v1/executions/${id}`);
      if (ended || mine < shown) return;
      shown = mine;
      if (state.found?.unconfirmed && isOpen(found)) {
        // The log is ahead of the database: what it told holds, and is confirmed in a moment.
        settled();
        return;
      }
      const isFirst = state.found === null;
      state.found = found;
      state.error = null;
      document.title = `${found.workflowId} – Execution`;
      for (const each of told.splice(0)) note(...each);
      if (isFirst) await readDefinition();
    } catch (error) {
      if (ended) return;
      if (!state.found) state.error = error;
    }
    draw();
  }

  async function readDefinition() {
    const { workflowId, version } = state.found;
    // Without it, what has not run yet cannot be told; what has run is.
    state.definition = (await get(link`/v1/workflows/${workflowId}/versions/${version}`).catch(() => null))?.definition ?? null;
    state.steps = stepsOf(state.definition);
    if (!state.definition) await readWhetherArchived();
  }

  /** An archived workflow has no view and no versions, and nothing of it is started again. */
  async function readWhetherArchived() {
    const { workflowId } = state.found;
    const page = await get(`/v1/workflows${query({ archived: true, prefix: workflowId, limit: 1 })}`).catch(() => null);
    state.isArchived = page?.items[0]?.workflowId === workflowId;
  }

  function note(name, data) {
    const found = state.found;
    if (!found) {
      told.push([name, data]);
      return;
    }
    if (isOpen(found)) {
      if (data.action) {
        const others = found.executedActions.filter((each) => !(each.attempt === data.action.attempt && each.actionId === data.action.actionId && isWaiting(each) === isWaiting(data.action) && isCutShort(each) === isCutShort(data.action)));
        const outcome = { ...data.action };
        if (!outcome.error) delete outcome.error;
        found.executedActions = [...others, outcome];
        found.startedAt ??= outcome.startedAt;
        if (outcome.status === "failed") found.lastFailedAction = outcome.actionId;
      }
      if (data.status) {
        if (data.requestedAt && kindOf(found) === "waiting") found.resumedAt = data.requestedAt;
        found.status = data.status;
        found.nextAttemptAt = data.nextAttemptAt ?? null;
        found.waitingFor = data.waitingFor ?? null;
        if (data.attempt) found.attempt = data.attempt;
        if (data.retriesLeft !== undefined) found.retriesLeft = data.retriesLeft;
        if (data.reason) found.reason = data.reason;
        if (!isOpen(data)) {
          found.unconfirmed = true;
          found.finishedAt = data.finishedAt ?? data.action?.finishedAt ?? null;
          if (data.status === "ok") found.reason = null;
        }
      }
      redraw();
    }
    // Requests and responses are not told; they are read when things have settled. That a runner has begun is looked for.
    settled();
    if (isAwaited(data)) look();
  }

  const redraw = calmly(60, draw);
  const settled = calmly(700, read);

  async function start(how) {
    state.busy = true;
    draw();
    const started = await attempt(() => post(link`/v1/executions/${id}/${how}`));
    state.busy = false;
    if (started) {
      toast(how === "retry" ? "Taken up again where it ended." : "Started once more.");
      if (!ended) location.hash = link`#/executions/${started.executionId}`;
    } else {
      draw();
    }
  }

  async function cancel() {
    const again = isBeingCancelled(state.found);
    const asked = again
      ? ["End it now?", "What is left of finally is not run.", "End it now"]
      : ["Cancel this execution?", `What runs is stopped and nothing more is started${runsFinally(state.found) ? ", but for the steps of finally" : ""}. What was done is not undone.`, "Cancel the execution"];
    if (!(await confirmed(...asked))) return;
    state.busy = true;
    draw();
    const done = await attempt(() => post(link`/v1/executions/${id}/cancel`, again ? { now: true } : undefined));
    state.busy = false;
    if (done) toast(isOpen(done) ? "It is cancelled: the steps of finally run." : "Cancelled.");
    await read();
  }

  async function tell() {
    const awaited = state.found.waitingFor;
    const sent = await signalWith(id, awaited, state.steps.get(awaited.actionId)?.payloadSchema);
    if (sent) toast(`Signal ${sent.signal} is sent.`);
    if (!ended) await read();
  }

  function actions(found) {
    if (!may("operator")) return null;
    const more = { disabled: state.busy || found.unconfirmed };
    const waits = found.waitingFor?.signal ? button("Send signal…", tell, { kind: "primary", disabled: state.busy, key: "signal" }) : null;
    if (isOpen(found)) return h("div", { class: "actions" }, waits, button(isBeingCancelled(found) ? "End now" : "Cancel", cancel, { kind: "danger", disabled: state.busy, key: "cancel" }));
    if (state.isArchived) return null;
    const failed = found.status !== "ok" && found.status !== "skipped";
    return h("div", { class: "actions" },
      failed ? button(found.status === "cancelled" ? "Retry from where it stopped" : "Retry from the failed action", () => start("retry"), { kind: "primary", key: "retry", ...more }) : null,
      button("Run again", () => start("run-again"), { kind: failed ? "" : "primary", key: "again", ...more }));
  }

  // -- how it stands, in one sentence ---------------------------------------------------------------------------------

  /** The newest outcome, in the order in which they came. */
  const newest = (found) => found.executedActions.at(-1) ?? null;

  /** Whether an outcome is that a step waits for something; what comes of that is another one of the same attempt. */
  const isWaiting = (outcome) => outcome.status === "waiting";

  /** Whether an outcome is that the execution was cut short there; the attempt may have another one. */
  const isCutShort = (outcome) => cutsShort(outcome.error?.class);

  /** Whether it is cancelled, and the steps of finally run. */
  const isBeingCancelled = (found) => isOpen(found) && (found.restarts ?? []).some((each) => each.why === "cancelled");

  /** Whether steps of finally are run when it is cancelled: it has some, and is at its actions. */
  const runsFinally = (found) => found.status !== "queued" && left(found)[0]?.list === "actions" && [...state.steps.values()].some((each) => each.list === "finally");

  /** Whether it waits because a delay says so, not because something failed. */
  const isDelayed = (found) => kindOf(found) === "waiting" && newest(found)?.status === "ok";

  /** Whether its last wait is over, and nothing has ended since. */
  const isResumed = (found) => isOpen(found) && found.resumedAt && newest(found) !== null && Date.parse(found.resumedAt) >= Date.parse(newest(found).finishedAt);

  /** Whether it is under way with an attempt of which nothing has ended yet. */
  const isRetried = (found) => isResumed(found) && found.attempt > newest(found).attempt;

  function underWay(found) {
    const [next] = left(found);
    return next ? [next.actionId, " is running"] : "Its last action is running";
  }

  /** What is left after the next attempt; a step with attempts of its own takes none of the execution's retries. */
  function afterIt(found) {
    const failed = found.executedActions.findLast((each) => each.status !== "ok");
    if (state.steps.get(failed?.actionId)?.retry?.attempts) return "";
    return found.retriesLeft ? `, ${plural(found.retriesLeft, "retry", "retries")} left after it` : ", the last one";
  }

  /** What is said at the top: always there, so that nothing below it moves when it changes. */
  function standing(found) {
    const kind = kindOf(found);
    const ran = new Set(found.executedActions.filter((each) => !each.carriedOver && each.status !== "skipped" && each.index < found.totalActions).map((each) => each.index)).size;
    const interrupted = (found.restarts ?? []).filter((each) => each.since).length;
    switch (kind) {
      case "queued": return ["", "Waits to be run", found.status === "queued" ? "Another execution of this workflow is open; this one is next in line when that has ended." : "It is accepted and handed to the runners."];
      case "running": return ["accent", underWay(found), isBeingCancelled(found) ? "It is cancelled: the steps of finally run." : `Attempt ${found.attempt}; what it does appears below.`];
      case "waiting": {
        if (found.waitingFor) return ["warn", awaitedWords(found.waitingFor), [found.waitingFor.actionId, " gives up ", time(found.waitingFor.until, "until"), ", ", shortly(found.waitingFor.until), "."]];
        if (isDelayed(found)) return ["warn", ["Goes on ", time(found.nextAttemptAt, "until")], [newest(found).actionId, " waits until ", shortly(found.nextAttemptAt), "."]];
        return ["warn", ["Next attempt ", time(found.nextAttemptAt, "until"), afterIt(found)], found.reason];
      }
      case "ok": return ["ok", ["Succeeded ", time(found.finishedAt)], `${plural(ran, "action")} in ${duration(Date.parse(found.finishedAt) - Date.parse(found.startedAt ?? found.createdAt))}${found.attempt > 1 ? `, at attempt ${found.attempt}` : ""}${interrupted ? `, interrupted ${interrupted === 1 ? "once" : `${interrupted} times`}` : ""}.`];
      case "failed": return ["bad", "Why it failed", found.reason ?? "Nothing was recorded."];
      case "skipped": return ["", "Why it was skipped", found.reason ?? "Another execution of the workflow was open."];
      default: return ["", "Why it ended", found.reason ?? "Nothing was recorded."];
    }
  }

  function banner(found) {
    const [tone, title, text] = standing(found);
    return h("div", { class: `notice banner ${tone && `notice-${tone}`}`, key: "standing" }, sign(kindOf(found)), h("div", null, h("strong", null, title), h("p", null, text ?? " ")));
  }

  const toWorkflow = (found, text, attributes = {}) => (state.isArchived ? text : h("a", { href: link`#/workflows/${found.workflowId}`, ...attributes }, text));

  function facts(found) {
    const fact = (name, ...value) => h("div", { key: name }, h("dt", null, name), h("dd", null, value));
    const late = found.dueAt && found.startedAt && !found.originId ? Date.parse(found.startedAt) - Date.parse(found.dueAt) : null;
    return h("dl", { class: "facts card pad", key: "facts" },
      fact("Asked for", time(found.createdAt), h("span", { class: "sub" }, shortly(found.createdAt))),
      fact("Took", took(found.startedAt, found.finishedAt)),
      fact("Cause", CAUSES[found.cause] ?? found.cause),
      found.reference ? fact("Reference", h("a", { href: link`#/executions?reference=${found.reference}` }, found.reference)) : null,
      fact("Attempt", String(found.attempt), found.status === "ok" ? null : h("span", { class: "quiet" }, found.retriesLeft ? `, ${plural(found.retriesLeft, "retry", "retries")} left` : ", no retries left")),
      fact("Version", toWorkflow(found, String(found.version))),
      found.dueAt ? fact("Due", shortly(found.dueAt), late === null ? null : h("span", { class: "quiet" }, found.cause === "backfill" ? ", made up for" : `, begun ${duration(late)} late`)) : null,
      found.originId ? fact(found.takesUp ? "Takes up" : "Repeats", other(found.originId)) : null,
      found.triggeredBy ? fact("Triggered by", other(found.triggeredBy.executionId), h("span", { class: "sub" }, `${found.triggeredBy.actionId} of ${found.triggeredBy.workflowId}`)) : null,
      found.deadline && isOpen(found) ? fact("Must end", time(found.deadline, "until")) : null);
  }

  function input(found) {
    if (!found.input || !Object.keys(found.input).length) return null;
    return h("details", { class: "card pad given", key: "input" }, h("summary", null, "Input", h("span", { class: "quiet" }, ` ${Object.keys(found.input).slice(0, 6).join(", ")}`)), h("pre", { class: "log", tabindex: "0", role: "region", "aria-label": "Input" }, write(found.input, 2)));
  }

  /** Whether its actions were ended; live, only the outcome is told. */
  const wasCutShort = (found) => (found.restarts ?? []).some((each) => cutsShort(each.why)) || found.executedActions.some(isCutShort);

  /** What interrupted it before an outcome; where its step has waited for a signal, before that or after. */
  function restartsAt(found, outcome) {
    const isThere = (each) => each.attempt === outcome.attempt && each.index === outcome.index;
    const all = found.executedActions.filter(isThere);
    const those = all.filter((each) => !isWaiting(each) || each === all.find(isWaiting));
    // Before the first outcome that came after it; what was cut short has an outcome of its own.
    const next = (each) => those.find((other) => Date.parse(each.at) <= Date.parse(other.finishedAt)) ?? (cutsShort(each.why) ? null : those.at(-1));
    return (found.restarts ?? []).filter((each) => isThere(each) && next(each)?.finishedAt === outcome.finishedAt && next(each)?.status === outcome.status);
  }

  // -- what happened ----------------------------------------------------------------------------------------------------

  /** The outcomes by attempt, in order; each knows whether a wait comes after it, and when it began first where it was interrupted. */
  function attempts(found) {
    const groups = new Map();
    for (const each of found.executedActions) {
      if (!groups.has(each.attempt)) groups.set(each.attempt, []);
      // A step that looks from time to time for what it waits for has one wait all the same.
      if (isWaiting(each) && groups.get(each.attempt).at(-1)?.actionId === each.actionId) continue;
      groups.get(each.attempt).push({ ...each, isDelay: isWaiting(each) || (state.steps.get(each.actionId)?.type === "delay" && each.status === "ok"), began: restartsAt(found, each).find((other) => other.since)?.since ?? each.startedAt });
    }
    return [...groups].sort(([one], [another]) => one - another);
  }

  /** The steps that are still to be run if nothing (more) fails. */
  function left(found) {
    const done = new Set(found.executedActions.filter((each) => !isWaiting(each) && (each.status !== "failed" || each.continued)).map((each) => each.actionId));
    // Something that failed in the attempt that still runs is not tried again: the handlers run.
    const broken = wasCutShort(found) || found.status === "running" && found.executedActions.some((each) => each.attempt === found.attempt && !isWaiting(each) && !done.has(each.actionId));
    const lists = isBeingCancelled(found) ? ["finally"] : broken ? ["onFailure", "finally"] : ["actions", "finally"];
    return [...state.steps.values()].filter((each) => lists.includes(each.list) && !done.has(each.actionId));
  }

  function todo(found) {
    const steps = isOpen(found) ? left(found) : [];
    if (!steps.length) return null;
    const running = found.status === "running";
    return h("li", { class: "attempt", key: "todo" },
      isRetried(found) ? attemptHead(found.attempt, found.resumedAt) : null,
      h("ol", null, steps.map((each, place) => h("li", { class: "step step-todo", key: `todo-${each.actionId}` },
        sign(running && place === 0 ? "running" : "idle"),
        h("div", { class: "step-name" }, each.actionId, running && place === 0 ? h("span", { class: "quiet" }, " is running") : null, each.heading ? h("span", { class: "quiet" }, `, ${each.heading.toLowerCase()}`) : null),
        h("div", { class: "right quiet small-text" }, each.type)))));
  }

  const attemptHead = (number, began) => h("div", { class: "attempt-head" }, h("h3", null, `Attempt ${number}`), h("span", { class: "quiet" }, shortly(began)));

  const waited = (key, ...words) => h("li", { class: "wait", key }, sign("waiting"), words);

  const because = (failed, before) => h("span", { class: "quiet" }, failed?.error ? `because ${failed.actionId} failed. ${whyAgain(state.definition, failed, before) ?? ""}` : "before it was taken up again");

  function asSaid(each) {
    const known = state.steps.get(each.actionId);
    const what = known?.type === "trigger-workflow" ? `the end of what ${each.actionId} had triggered` : `signal ${known?.signal ?? each.actionId}`;
    return h("span", { class: "quiet" }, isWaiting(each) ? `for ${what}` : `as ${each.actionId} says`);
  }

  /** A wait of so many milliseconds that is over. */
  const passed = (key, ms, why) => waited(key, h("span", null, `Waited ${duration(ms)}`), why);

  /** The wait that it is in, or that is over and after which nothing has ended yet. */
  function lastWait(found, before) {
    const last = before.at(-1);
    if (kindOf(found) === "waiting") {
      if (found.waitingFor) return waited("wait-now", h("span", null, awaitedWords(found.waitingFor)), h("span", { class: "quiet" }, found.waitingFor.actionId, " gives up ", time(found.waitingFor.until, "until")), last?.output?.executionIds ? children(last.output) : null);
      return isDelayed(found)
        ? waited("wait-now", h("span", null, "Goes on ", time(found.nextAttemptAt, "until")), asSaid(last))
        : waited("wait-now", h("span", null, `Attempt ${found.attempt + 1} `, time(found.nextAttemptAt, "until")), last?.error ? because(last, before) : null);
    }
    if (!isOpen(found) && last && isWaiting(last)) return passed("wait-now", Date.parse(found.finishedAt) - Date.parse(last.finishedAt), asSaid(last));
    if (!isResumed(found)) return null;
    return passed("wait-now", Date.parse(found.resumedAt) - Date.parse(last.finishedAt), last.isDelay ? asSaid(last) : because(last, before));
  }

  /** Why it was handed to the runners again, for another reason than a retry or a delay. */
  function restarted(each) {
    const runner = each.runner ? `Runner ${each.runner}` : "Its runner";
    // After it had come to the step: when its runner was lost nobody knows, only when that was noticed.
    const later = each.since ? `${duration(Date.parse(each.at) - Date.parse(each.since))} later, ` : "";
    const over = each.since ? `The step had been under way for ${duration(Date.parse(each.at) - Date.parse(each.since))}. The actions were ended ` : "The actions were ended ";
    const [head, words] = {
      lost: ["Interrupted", `${runner} was lost. It went on ${later}`],
      "handed-back": ["Interrupted", `${runner} handed it back. It went on ${later}`],
      unclaimed: ["Handed out again", "No runner had taken it, "],
      released: ["Was queued", "Its turn came "],
      "timed-out": ["Timed out", over],
      "given-up": ["Given up", over],
      cancelled: ["Cancelled", over],
    }[each.why] ?? ["Restarted", `${each.why}, `];
    return waited(`restart-${each.at}`, h("span", null, head), h("span", { class: "quiet" }, words, time(each.at)));
  }

  /** The steps of one attempt, under the names of their lists, with the waits of delays between them and what interrupted them. */
  function within(found, outcomes) {
    const made = [];
    let list = null;
    outcomes.forEach((each, place) => {
      made.push(...restartsAt(found, each).map(restarted));
      const known = state.steps.get(each.actionId);
      if (known?.heading && known.heading !== list) made.push(h("li", { class: "list-name", key: `list-${known.list}` }, h("h4", null, known.heading)));
      list = known?.heading ?? null;
      if (!isWaiting(each)) made.push(step(each, known));
      const next = outcomes[place + 1];
      if (each.isDelay && next) made.push(passed(`delay-${each.actionId}`, Date.parse(next.began) - Date.parse(each.finishedAt), asSaid(each)));
    });
    return made;
  }

  function timeline(found) {
    const made = [];
    const before = [];
    for (const [number, outcomes] of attempts(found)) {
      const last = before.at(-1);
      if (last && number > 1) made.push(passed(`wait-${number}`, Date.parse(outcomes[0].began) - Date.parse(last.finishedAt), because(last, before)));
      before.push(...outcomes);
      made.push(h("li", { class: "attempt", key: `attempt-${number}` },
        outcomes[0].carriedOver
          ? h("div", { class: "attempt-head" }, h("h3", null, "Carried over"), h("span", { class: "quiet" }, "from ", other(found.originId), ", not run again"))
          : attemptHead(number, outcomes[0].began),
        h("ol", null, within(found, outcomes))));
    }
    const wait = lastWait(found, before);
    if (wait) made.push(wait);
    made.push(...(found.restarts ?? []).filter((each) => !before.some((outcome) => restartsAt(found, outcome).includes(each))).map(restarted));
    if (found.cutOff) made.push(waited("cut-off", h("span", null, "Cut off"), h("span", { class: "quiet" }, `${found.cutOff.actionId} had been under way for ${duration(Date.parse(found.finishedAt) - Date.parse(found.cutOff.since))}. It may have been done.`)));
    const rest = todo(found);
    if (!made.length && !rest) return h("p", { class: "quiet", key: "none" }, isOpen(found) ? "Nothing has run yet." : "Nothing was run.");
    return h("ol", { class: "steps", key: "steps" }, made, rest);
  }

  function draw() {
    if (ended) return;
    if (state.error) {
      show(root, heading("Execution"), trouble(state.error, read), h("p", null, h("a", { href: "#/executions" }, "See all executions")));
      return;
    }
    const found = state.found;
    if (!found) {
      show(root, heading("Execution"), loading(4));
      return;
    }
    show(root,
      crumbs(h("a", { href: "#/executions" }, "Executions"), h("a", { href: link`#/executions?workflow=${found.workflowId}` }, found.workflowId), [h("span", { class: "mono" }, id), copier(() => id)]),
      h("div", { class: "head", key: "head" }, h("h1", { tabindex: "-1" }, toWorkflow(found, found.workflowId, { class: "title-link" })), h("span", { role: "status" }, badge(kindOf(found))),
        state.isArchived ? h("span", { class: "quiet", key: "archived" }, "Its workflow is archived: nothing of it is started again") : null, actions(found)),
      banner(found),
      facts(found),
      input(found),
      h("section", { class: "section", key: "timeline", "aria-labelledby": "timeline" },
        h("div", { class: "section-head" }, h("h2", { id: "timeline" }, "What happened"), zone()),
        h("div", { class: "card pad" }, lane(found, attempts(found), kindOf(found)), timeline(found))));
  }

  draw();
  read();
  const look = looking(() => state.found !== null && isOpen(state.found), read);
  const end = watch({ executionId: id }, note, () => {
    settled();
    look();
  });
  // The bar of a run that is under way grows.
  const tick = setInterval(() => { if (state.found && isOpen(state.found)) redraw(); }, 1000);
  return () => {
    ended = true;
    end();
    clearInterval(tick);
    look.stop();
    redraw.stop();
    settled.stop();
  };
}
