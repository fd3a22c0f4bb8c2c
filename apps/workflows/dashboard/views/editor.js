// A definition as YAML or JSON, checked by the service while it is typed.

import { getTagged, post, put, validate } from "../api.js";
import { h, show } from "../dom.js";
import { badge, button, confirmed, heading, loading, toast, trouble } from "../ui.js";
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

export function editor(root, id) {
  document.title = id ? `Edit ${id} – Workflows` : "New workflow – Workflows";
  const state = { ready: !id, error: null, notation: "yaml", verdict: null, etag: null, busy: false, refused: null };
  const area = h("textarea", { spellcheck: "false", autocapitalize: "off", autocomplete: "off", wrap: "off", "aria-label": "Definition", "aria-describedby": "verdict", opaque: true, key: "area" });
  const gutter = h("div", { class: "gutter", "aria-hidden": "true", opaque: true, key: "gutter" });
  let saved = "";
  let timer = null;
  let asking = null;
  let ended = false;

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

  async function check() {
    asking?.abort();
    asking = new AbortController();
    try {
      state.verdict = await validate(area.value, state.notation, asking.signal);
      area.setAttribute("aria-invalid", String(!state.verdict.valid));
      state.error = null;
    } catch (error) {
      if (error.name === "AbortError") return;
      state.verdict = null;
      state.error = error;
    }
    if (ended) return;
    number();
    draw();
  }

  area.addEventListener("input", () => {
    number();
    state.refused = null;
    clearTimeout(timer);
    timer = setTimeout(check, PAUSE);
  });
  area.addEventListener("scroll", () => { gutter.scrollTop = area.scrollTop; });
  area.addEventListener("keydown", (event) => {
    // Tab indents as everywhere in editors; Escape first lets it move on, so that nobody is caught in here.
    if (event.key === "Escape") area.dataset.leave = "yes";
    else if (event.key === "Tab" && !event.shiftKey && area.dataset.leave !== "yes") {
      event.preventDefault();
      area.setRangeText("  ", area.selectionStart, area.selectionEnd, "end");
      area.dispatchEvent(new Event("input"));
    } else if (event.key !== "Tab") delete area.dataset.leave;
    if ((event.ctrlKey || event.metaKey) && event.key === "s") {
      event.preventDefault();
      save();
    }
  });

  async function read() {
    try {
      const { answer, etag } = await getTagged(`/v1/workflows/${encodeURIComponent(id)}`);
      state.etag = etag;
      fill(await asYaml(definitionOf(answer)));
      saved = area.value;
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
    await check();
    if (!state.verdict?.valid) {
      toast("Mend what is wrong first: only a valid definition can be written the other way.", { kind: "bad" });
      return;
    }
    const wasSaved = area.value === saved;
    state.notation = notation;
    fill(notation === "yaml" ? state.verdict.yaml : JSON.stringify(state.verdict.written, null, 2));
    if (wasSaved) saved = area.value;
    draw();
  }

  function goTo(flaw) {
    const lines = area.value.split("\n");
    const line = Math.min(flaw.line ?? 1, lines.length);
    const start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
    area.focus();
    area.setSelectionRange(start, start + lines[line - 1].length);
    area.scrollTop = Math.max(0, (line - 4) * 22);
  }

  async function save() {
    clearTimeout(timer);
    await check();
    if (!state.verdict?.valid || state.busy) return;
    state.busy = true;
    state.refused = null;
    draw();
    try {
      const definition = state.verdict.written;
      const stored = id ? await put(`/v1/workflows/${encodeURIComponent(id)}`, definition, state.etag) : await post("/v1/workflows", definition);
      saved = area.value;
      toast(id ? `Stored as version ${stored.version}.` : `${stored.workflowId} is there.`);
      location.hash = `#/workflows/${encodeURIComponent(stored.workflowId)}`;
      return;
    } catch (error) {
      state.refused = error;
    }
    state.busy = false;
    if (!ended) draw();
  }

  async function reload() {
    if (await confirmed("Read it again?", "What you have typed here is replaced by what is stored now.", "Read it again")) {
      state.refused = null;
      state.notation = "yaml";
      await read();
    }
  }

  function verdict() {
    if (state.error) return trouble(state.error, check);
    if (!state.verdict) return h("p", { class: "verdict quiet" }, "Checking…");
    if (state.verdict.valid) return h("p", { class: "verdict" }, badge("ok", "Valid"));
    const { errors } = state.verdict;
    return [h("p", { class: "verdict" }, badge("failed", errors.length === 1 ? "One thing to mend" : `${errors.length} things to mend`)),
      h("ul", { class: "flaws" }, errors.map((each, place) => h("li", { key: place }, h("button", { type: "button", on: { click: () => goTo(each) } }, each.line ? h("span", { class: "quiet" }, `Line ${each.line}: `) : null, each.field ? h("code", null, each.field) : null, ` ${each.message}`))))];
  }

  function hints() {
    return h("dl", { class: "hint" },
      h("dt", null, "Triggers"), h("dd", null, h("code", null, "manual"), ", ", h("code", null, "cron"), " with an ", h("code", null, "expression"), ", or ", h("code", null, "periodic"), " with an ", h("code", null, "interval"), " such as ", h("code", null, "10s"), ", ", h("code", null, "5m"), ", ", h("code", null, "1h")),
      h("dt", null, "Actions"), h("dd", null, h("code", null, "log"), " with a ", h("code", null, "message"), "; ", h("code", null, "http-request"), " with ", h("code", null, "url"), ", ", h("code", null, "method"), ", ", h("code", null, "headers"), ", ", h("code", null, "json")),
      h("dt", null, "Keys"), h("dd", null, "Tab indents; Escape, then Tab, leaves the text. Ctrl+S stores."));
  }

  function draw() {
    if (ended) return;
    const title = id ? `Edit ${id}` : "New workflow";
    if (!state.ready) {
      show(root, heading(title), state.error ? trouble(state.error, read) : loading(6));
      return;
    }
    const changed = area.value !== saved;
    show(root,
      h("p", { class: "crumbs", key: "crumbs" }, h("a", { href: "#/workflows" }, "Workflows"), id ? [" / ", h("a", { href: `#/workflows/${encodeURIComponent(id)}` }, id)] : null),
      h("div", { class: "head", key: "head" }, h("h1", { tabindex: "-1" }, title),
        h("div", { class: "tabs", role: "group", "aria-label": "Notation" }, ["yaml", "json"].map((each) => h("button", { type: "button", key: each, "aria-pressed": String(state.notation === each), on: { click: () => write(each) } }, each.toUpperCase()))),
        h("div", { class: "actions" }, h("a", { class: "button", href: id ? `#/workflows/${encodeURIComponent(id)}` : "#/workflows" }, "Discard"), button(id ? "Store as a new version" : "Create", save, { kind: "primary", disabled: state.busy || (id && !changed) || state.verdict?.valid === false, key: "save" }))),
      state.refused ? h("div", { key: "refused" }, trouble(state.refused), [409, 412].includes(state.refused.status) && id ? button("Read what is stored", reload, { kind: "small" }) : null) : null,
      h("div", { class: "editor", key: "editor" },
        h("div", { class: "editor-pane card", key: "pane" }, gutter, area),
        h("div", { class: "card pad" }, h("div", { id: "verdict", "aria-live": "polite" }, verdict()), hints())));
  }

  const warn = (event) => { if (area.value !== saved && !state.busy) event.preventDefault(); };
  addEventListener("beforeunload", warn);
  if (id) {
    draw();
    read();
  } else {
    fill(EXAMPLE);
    saved = area.value;
    draw();
    check();
  }
  return () => {
    ended = true;
    clearTimeout(timer);
    asking?.abort();
    removeEventListener("beforeunload", warn);
  };
}
