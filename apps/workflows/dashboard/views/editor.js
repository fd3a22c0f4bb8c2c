// A definition as YAML or JSON, checked by the service while it is typed. What has not been stored is kept in this tab, so
// that neither a wrong click nor the end of a session loses it.

import { get, getTagged, isLoggingIn, link, post, put, validate } from "../api.js";
import { h, show } from "../dom.js";
import { write as writeJson } from "../json.js";
import { may } from "../session.js";
import { shortly, time, zone } from "../time.js";
import { badge, button, copier, crumbs, forbidden, heading, loading, sign, toast, trouble } from "../ui.js";
import { asYaml, definitionOf } from "./workflow.js";

const EXAMPLE = `workflowId: hello
trigger:
  type: manual
actions:
  - type: log
    message: hello from the runner
  - type: http-request
    url: https://example.org
    method: GET
retries: 3
`;
const PAUSE = 300;
const LINE = 22; // pixels
const TICKS = 3;

/** What was typed and not stored, in this tab. */
function draftOf(id) {
  const name = `draft:${id}`;
  const quietly = (work) => {
    try {
      return work();
    } catch {
      return null; // no storage, or full: then it is as it was before there were drafts
    }
  };
  return {
    read: () => quietly(() => JSON.parse(sessionStorage.getItem(name))),
    keep: (draft) => quietly(() => sessionStorage.setItem(name, JSON.stringify(draft))),
    drop: () => quietly(() => sessionStorage.removeItem(name)),
  };
}

export function editor(root, id) {
  document.title = id ? `Edit ${id} – Workflows` : "New workflow – Workflows";
  const title = id ? `Edit ${id}` : "New workflow";
  if (!may("operator")) {
    show(root, heading(title), forbidden("operator"));
    return null;
  }
  const state = { ready: false, error: null, notation: "yaml", verdict: null, etag: null, busy: false, refused: null, overtaken: null, restored: false, replaced: null, ticks: [] };
  const draft = draftOf(id);
  const area = h("textarea", { spellcheck: "false", autocapitalize: "off", autocomplete: "off", wrap: "off", "aria-label": "Definition", "aria-describedby": "verdict", opaque: true, key: "area" });
  const gutter = h("div", { class: "gutter", "aria-hidden": "true", opaque: true, key: "gutter" });
  let saved = "";
  let timer = null;
  let asking = null;
  let ended = false;

  const home = id ? link`#/workflows/${id}` : "#/workflows";
  const isChanged = () => area.value !== saved;

  function fill(text) {
    area.value = text;
    number();
  }

  function number() {
    const wrong = new Set((state.verdict?.errors ?? []).map((each) => each.line));
    const count = area.value.split("\n").length;
    gutter.replaceChildren(...Array.from({ length: count }, (_, place) => (wrong.has(place + 1) ? h("b", null, `× ${place + 1}\n`) : `${place + 1}\n`)));
    gutter.scrollTop = area.scrollTop;
  }

  /** Return what is said of the text; null where nothing is, or another check has begun. */
  async function check() {
    asking?.abort();
    asking = new AbortController();
    const { signal } = asking;
    try {
      const found = await validate(area.value, state.notation, signal);
      if (signal.aborted) return null;
      state.verdict = found;
      area.setAttribute("aria-invalid", String(!state.verdict.valid));
      state.error = null;
      await preview(signal);
    } catch (error) {
      if (error.name === "AbortError") return null;
      state.verdict = null;
      state.error = error;
    }
    if (ended) return state.verdict;
    number();
    draw();
    return state.verdict;
  }

  /** Keep the text as it is while `work` is done with it, for good where that says so: what is typed meanwhile would be lost. */
  async function locked(work) {
    if (state.busy) return;
    clearTimeout(timer);
    lock(true);
    if (!(await work())) lock(false);
  }

  function lock(isLocked) {
    state.busy = isLocked;
    area.readOnly = isLocked;
    area.setAttribute("aria-busy", String(isLocked));
    draw();
  }

  /** When the trigger would run, as it stands there. */
  async function preview(signal) {
    const trigger = state.verdict.definition?.trigger;
    const isScheduled = trigger && trigger.type !== "manual";
    state.ticks = isScheduled ? (await post("/v1/schedules/preview", { trigger, count: TICKS }, { signal })).items : [];
  }

  area.addEventListener("input", () => {
    number();
    Object.assign(state, { refused: null, overtaken: null });
    if (isChanged()) draft.keep({ text: area.value, notation: state.notation, etag: state.etag });
    else draft.drop();
    clearTimeout(timer);
    timer = setTimeout(check, PAUSE);
  });
  area.addEventListener("scroll", () => { gutter.scrollTop = area.scrollTop; });
  area.addEventListener("keydown", (event) => {
    // Tab indents as everywhere in editors; Escape first lets it move on, so that nobody is caught in here.
    if (event.key === "Escape") area.dataset.leave = "yes";
    else if (event.key === "Tab" && !event.shiftKey && area.dataset.leave !== "yes") {
      event.preventDefault();
      indent();
    } else if (event.key !== "Tab") delete area.dataset.leave;
    if ((event.ctrlKey || event.metaKey) && event.key === "s") {
      event.preventDefault();
      locked(save);
    }
  });

  function indent() {
    // What a script sets is no part of what can be undone, and ends it for what was typed before.
    if (area.readOnly || document.execCommand("insertText", false, "  ")) return;
    area.setRangeText("  ", area.selectionStart, area.selectionEnd, "end");
    area.dispatchEvent(new Event("input"));
  }

  /** Show what is stored, or the example, and on top of that what was typed before and not stored. */
  function read() {
    return begin(restore);
  }

  function restore() {
    const kept = draft.read();
    if (!kept || kept.text === saved) return;
    // Under the version that it was begun with: if somebody else has stored one since, that is noticed.
    Object.assign(state, { notation: kept.notation, etag: kept.etag, restored: true });
    fill(kept.text);
  }

  async function begin(goOn) {
    try {
      if (id) {
        const { answer, etag } = await getTagged(link`/v1/workflows/${id}`);
        fill(await asYaml(definitionOf(answer)));
        state.etag = etag;
      } else {
        fill(EXAMPLE);
      }
      saved = area.value;
      goOn();
      state.ready = true;
      state.error = null;
    } catch (error) {
      state.error = error;
    }
    if (ended) return;
    draw();
    if (state.ready) check();
  }

  async function write(notation) {
    if (notation === state.notation) return;
    const found = await check();
    if (ended || !found) return;
    if (!found.valid) {
      toast("Mend what is wrong first: only a valid definition can be written the other way.", { kind: "bad" });
      return;
    }
    const wasSaved = !isChanged();
    state.notation = notation;
    fill(notation === "yaml" ? found.yaml : writeJson(found.written, 2));
    if (wasSaved) saved = area.value;
    else draft.keep({ text: area.value, notation, etag: state.etag });
    draw();
  }

  function goTo(flaw) {
    const lines = area.value.split("\n");
    const line = Math.min(flaw.line ?? 1, lines.length);
    const start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
    area.focus();
    area.setSelectionRange(start, start + lines[line - 1].length);
    area.scrollTop = Math.max(0, (line - 4) * LINE);
  }

  /** Store what stands there; returns whether that leads elsewhere. */
  async function save() {
    const sent = area.value;
    Object.assign(state, { refused: null, overtaken: null });
    const found = await check();
    if (!found?.valid) return false;
    try {
      const stored = id ? await put(link`/v1/workflows/${id}`, found.written, state.etag) : await post("/v1/workflows", found.written);
      saved = sent;
      // Whoever has left and come back may have typed more since.
      if (draft.read()?.text === sent) draft.drop();
      toast(id ? `Stored as version ${stored.version}.` : `${stored.workflowId} is there.`);
      if (!ended) location.hash = link`#/workflows/${stored.workflowId}`;
      return true;
    } catch (error) {
      await refuse(error);
      return false;
    }
  }

  async function refuse(error) {
    state.refused = error;
    if (!id || !["urn:problem-type:precondition-failed", "urn:problem-type:version-conflict"].includes(error.body?.type)) return;
    try {
      state.overtaken = (await get(link`/v1/workflows/${id}`)).version;
    } catch {
      // Then what was refused is told in the words of the service.
    }
  }

  async function startOver() {
    await begin(() => {
      draft.drop();
      Object.assign(state, { refused: null, restored: false, notation: "yaml" });
    });
  }

  /** Show what somebody else has stored meanwhile; what was typed stays at hand, and the draft as it was. */
  async function giveWay() {
    const replaced = { text: area.value, notation: state.notation };
    await begin(() => Object.assign(state, { replaced, refused: null, overtaken: null, restored: false, notation: "yaml" }));
  }

  function takeBack() {
    const { text, notation } = state.replaced;
    Object.assign(state, { replaced: null, notation });
    fill(text);
    draft.keep({ text, notation, etag: state.etag });
    check();
  }

  function discard() {
    draft.drop();
    saved = area.value;
    location.hash = home;
  }

  function verdict() {
    // What is being stored or rewritten is checked for that: another check would take its place, and nothing came of it.
    if (state.error) return trouble(state.error, () => state.busy || check());
    if (!state.verdict) return h("p", { class: "verdict quiet" }, "Checking…");
    const { valid, errors, warnings } = state.verdict;
    if (!valid) return [h("p", { class: "verdict" }, badge("failed", errors.length === 1 ? "One thing to mend" : `${errors.length} things to mend`)), flaws(errors)];
    return [h("p", { class: "verdict" }, badge("ok", "Valid")), warnings.length ? [h("p", null, "It would fail if it ran now:"), flaws(warnings, "flaws-warn")] : null];
  }

  function flaws(found, kind = "") {
    return h("ul", { class: `flaws ${kind}` }, found.map((each, place) => h("li", { key: place }, h("button", { type: "button", on: { click: () => goTo(each) } }, each.line ? h("span", { class: "quiet" }, `Line ${each.line}: `) : null, each.field ? h("code", null, each.field) : null, ` ${each.message}`))));
  }

  function coming() {
    if (!state.ticks.length) return null;
    return h("section", { class: "coming", key: "coming" }, h("div", { class: "section-head" }, h("h2", null, "It would run"), zone()), h("ol", { class: "ticks" }, state.ticks.map(({ dueAt }) => h("li", { key: dueAt }, h("span", { class: "when" }, shortly(dueAt)), h("span", { class: "quiet" }, time(dueAt, "until"))))));
  }

  function hints() {
    return h("dl", { class: "hints", key: "hints" },
      h("dt", null, "Triggers"), h("dd", null, h("code", null, "manual"), ", ", h("code", null, "cron"), " with an ", h("code", null, "expression"), ", ", h("code", null, "once"), " with an instant ", h("code", null, "at"), ", or ", h("code", null, "periodic"), " with an ", h("code", null, "interval"), " such as ", h("code", null, "10s"), ", ", h("code", null, "5m"), ", ", h("code", null, "1h"), ", ", h("code", null, "1d")),
      h("dt", null, "Actions"), h("dd", null, h("code", null, "log"), " with a ", h("code", null, "message"), "; ", h("code", null, "http-request"), " with ", h("code", null, "url"), ", ", h("code", null, "method"), ", ", h("code", null, "headers"), ", ", h("code", null, "json"), "; ", h("code", null, "publish"), ", ", h("code", null, "set"), ", ", h("code", null, "delay"), ", ", h("code", null, "fail"), ", ", h("code", null, "trigger-workflow"), ", ", h("code", null, "wait-for-signal")),
      h("dt", null, "Keys"), h("dd", null, "Tab indents; Escape, then Tab, leaves the text. Ctrl+S stores."));
  }

  function notice(name, title, text, ...choices) {
    return h("div", { class: "notice", key: name, role: "status" }, sign("waiting"), h("div", null, h("strong", null, title), h("p", null, text), choices.length ? h("div", { class: "actions" }, choices) : null));
  }

  function notices() {
    if (state.overtaken) {
      return notice("overtaken", `Somebody stored version ${state.overtaken} meanwhile`, "You began with an older one, so nothing was stored. What you typed is kept when you read what is stored now.",
        button(`Read version ${state.overtaken}`, () => locked(giveWay), { kind: "small" }));
    }
    if (state.refused) return h("div", { key: "refused" }, trouble(state.refused));
    if (state.replaced) {
      return notice("replaced", "This is what is stored now", "What you typed is kept: copy what you need of it, or put it back in the place of this.",
        copier(() => state.replaced.text, "Copy what I typed"), button("Put it back", takeBack, { kind: "small", disabled: state.busy }));
    }
    if (state.restored) return notice("restored", "What you typed before is back", ["It was not stored. Go on with it, or ", h("button", { type: "button", class: "as-link", on: { click: () => locked(startOver) } }, "throw it away"), "."]);
    return null;
  }

  function draw() {
    if (ended) return;
    if (!state.ready) {
      show(root, heading(title), state.error ? trouble(state.error, read) : loading(6));
      return;
    }
    show(root,
      crumbs(h("a", { href: "#/workflows" }, "Workflows"), id ? h("a", { href: home }, id) : null, id ? "Edit" : "New"),
      h("div", { class: "head", key: "head" }, h("h1", { tabindex: "-1" }, title),
        h("div", { class: "tabs", role: "group", "aria-label": "Notation" }, ["yaml", "json"].map((each) => h("button", { type: "button", key: each, "aria-pressed": String(state.notation === each), on: { click: () => locked(() => write(each)) } }, each.toUpperCase()))),
        h("div", { class: "actions" }, button("Discard", discard, { key: "discard" }), button(id ? "Store as a new version" : "Create", () => locked(save), { kind: "primary", disabled: state.busy || (id && !isChanged()) || state.verdict?.valid === false, key: "save" }))),
      notices(),
      h("div", { class: "editor", key: "editor" },
        h("div", { class: "editor-pane card", key: "pane" }, gutter, area),
        h("div", { class: "card pad" }, h("div", { id: "verdict", "aria-live": "polite" }, verdict()), coming(), hints())));
  }

  // The draft outlives a detour over the page to log in, but not the tab.
  const warn = (event) => { if ((isChanged() || state.replaced) && !isLoggingIn()) event.preventDefault(); };
  addEventListener("beforeunload", warn);
  draw();
  read();
  return () => {
    ended = true;
    clearTimeout(timer);
    asking?.abort();
    removeEventListener("beforeunload", warn);
  };
}
