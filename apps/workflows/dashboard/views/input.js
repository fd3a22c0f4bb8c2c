// What a workflow is started with, or what comes with a signal: fields made of its schema, or JSON where there is none, or by
// choice.

import { link, post } from "../api.js";
import { fill } from "../dialogs.js";
import { h } from "../dom.js";
import { Written, parse, write } from "../json.js";
import { button } from "../ui.js";

const LONG = 200; // characters from which a text gets several lines
const DEEPEST = 3;
const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/; // as in JSON

let count = 0;

/** Ask what to run a workflow with, and run it; resolves to the answer, or to null where it was not run. */
export function runWith(id, schema) {
  const send = (input, options) => post(link`/v1/workflows/${id}/trigger`, { input }, options);
  return given(`Run ${id}`, "Run", { name: "input", hint: "A JSON object; templates see it as input.", schema, send });
}

/** Ask what is to come with a signal, and send it; resolves to the answer, or to null where it was not sent. */
export function signalWith(id, { signal, actionId }, schema) {
  const send = (payload, options) => post(link`/v1/executions/${id}/signals/${signal}`, { payload }, options);
  return given(`Send ${signal}`, "Send", { name: "payload", hint: `A JSON object; later steps see it as actions.${actionId}.output.payload.`, schema, send });
}

/** Ask for an object that obeys `schema`, in the words of the field `name`, and send it. */
function given(title, yes, { name, hint, schema, send }) {
  const form = schema && typeof schema === "object" ? formOf(schema) : null;
  const written = h("textarea", { spellcheck: "false", "aria-label": `${name[0].toUpperCase()}${name.slice(1)} as JSON`, rows: 10, class: "mono" });
  const stuck = h("p", { class: "why", role: "alert" });
  const holder = h("div");
  let asJson = form === null;
  let unsure = null; // what was sent, where it is not known whether it has arrived

  /** Send it once, also where it is sent again because no answer came. */
  async function once(value) {
    const text = write(value);
    if (unsure?.text !== text) unsure = { text, key: randomKey() };
    try {
      return await send(value, { headers: { "Idempotency-Key": unsure.key } });
    } catch (error) {
      if (error.status >= 400 && error.status < 500) unsure = null;
      throw error;
    }
  }

  function show() {
    const other = form && button(asJson ? "As fields" : "As JSON", turn, { kind: "plain tiny" });
    holder.replaceChildren(
      h("div", { class: "input-head" }, h("p", { class: "hint" }, asJson ? hint : "Fields with a star must be given."), other ?? ""),
      asJson ? written : form.node, stuck);
  }

  function turn() {
    stuck.textContent = asJson ? whyNoFields() : "";
    form.clear();
    if (stuck.textContent) written.focus();
    if (stuck.textContent || (!asJson && !form.check())) return;
    if (!asJson) written.value = write(form.read() ?? {}, 2);
    asJson = !asJson;
    show();
  }

  /** Fill the fields with what is written; returns why that cannot be, or "". */
  function whyNoFields() {
    let value;
    try {
      value = parse(written.value);
    } catch (error) {
      return notJson(error);
    }
    if (!isObject(value)) return "This is not a JSON object, and only one has fields.";
    const lost = form.write(value);
    return lost.length ? `What is written for ${lost.join(", ")} cannot be shown in a field, and would be lost.` : "";
  }

  written.value = write(form?.read() ?? {}, 2);
  show();
  return fill(title, holder, yes, async (_, say) => {
    form?.clear();
    stuck.textContent = "";
    if (!asJson && !form.check()) return null;
    let value;
    try {
      value = asJson ? asWritten(written.value) : form.read() ?? {};
    } catch (error) {
      say(notJson(error));
      return null;
    }
    try {
      return await once(value);
    } catch (error) {
      const left = asJson ? error.errors ?? [] : (error.errors ?? []).filter((each) => !form.mark(each.field.replace(new RegExp(`^${name}\\.?`), ""), each.message));
      if (error.errors?.length) say(left.map((each) => `${each.field} ${each.message}`).join(". "));
      else say(error.message);
      return null;
    }
  }, "wide");
}

function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (each) => each.toString(16).padStart(2, "0")).join("");
}

function notJson(error) {
  return `This is not JSON: ${error.message}`;
}

/** JSON that is sent as it was typed. Throws SyntaxError where it is none. */
function asWritten(text) {
  JSON.parse(text);
  return new Written(text);
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Written);
}

/**
 * The fields of an object's schema; null where it has none. They have a `node` and `read()`; `write(value)` returns the paths of
 * what they cannot show, `check()` whether what stands in them can be read (and marks what cannot); `mark(path, message)`, `clear()`.
 */
function formOf(schema) {
  const root = schema;
  const shape = resolved(schema, root);
  if (!shape.properties || !Object.keys(shape.properties).length) return null;
  return objectOf(shape, root, 0);
}

function resolved(schema, root) {
  let found = schema === true ? {} : schema;
  for (let hops = 0; typeof found?.$ref === "string" && hops < 10; hops += 1) {
    const target = found.$ref.split("/").slice(1).reduce((at, part) => at?.[part.replaceAll("~1", "/").replaceAll("~0", "~")], root);
    found = { ...target, ...found, $ref: target?.$ref };
  }
  return found ?? {};
}

function typeOf(schema) {
  return [schema.type].flat().find((each) => each !== "null") ?? (schema.properties ? "object" : undefined);
}

function objectOf(schema, root, depth) {
  const required = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties).map(([name, each]) => {
    const shape = resolved(each, root);
    const nested = typeOf(shape) === "object" && shape.properties && depth < DEEPEST;
    return [name, nested ? nestedOf(name, shape, root, depth + 1) : fieldOf(name, shape, required.has(name))];
  });
  let rest = []; // what was written and has no field, where the schema lets more be given
  return {
    node: h("div", { class: "fields" }, fields.map(([, each]) => each.node)),
    read() {
      const values = fields.map(([name, each]) => [name, each.read()]).filter(([, value]) => value !== undefined);
      return values.length || rest.length ? Object.fromEntries([...values, ...rest]) : undefined;
    },
    write(value) {
      const given = isObject(value) ? value : {};
      rest = Object.entries(given).filter(([name]) => !fields.some(([known]) => known === name));
      if (value !== undefined && given !== value) return [""];
      return fields.flatMap(([name, each]) => each.write(given[name]).map((path) => (path ? `${name}.${path}` : name)));
    },
    check() {
      return fields.map(([, each]) => each.check()).every(Boolean);
    },
    mark(path, message) {
      // What is missing is told of the object that lacks it.
      const missing = /^"([^"]+)" is a required property/.exec(message)?.[1];
      const [first = "", ...rest] = path === "" ? [missing] : path.split(/\.|(?=\[)/);
      const found = fields.find(([name]) => name === first)?.[1];
      return found ? found.mark(path === "" ? "" : rest.join("."), path === "" ? "must be given" : message) : false;
    },
    clear() {
      for (const [, each] of fields) each.clear();
    },
  };
}

function nestedOf(name, schema, root, depth) {
  const inner = objectOf(schema, root, depth);
  return { ...inner, node: h("fieldset", null, h("legend", null, schema.title ?? name), inner.node) };
}

function fieldOf(name, schema, isRequired) {
  count += 1;
  const [id, hint, flaw] = [`input-${count}`, `input-${count}-hint`, `input-${count}-flaw`];
  const { node, read, write: fillIn } = controlOf(schema, isRequired, { id, name, "aria-describedby": `${hint} ${flaw}` });
  if (schema.default !== undefined) fillIn(schema.default);
  const why = h("p", { class: "why", id: flaw });
  const label = h("label", { for: id }, schema.title ?? name, isRequired ? h("span", { class: "star", title: "must be given" }, " *") : null, schema.title ? h("span", { class: "quiet mono" }, ` ${name}`) : null);
  const mark = (_, message) => {
    why.textContent = message;
    node.setAttribute("aria-invalid", "true");
    if (!document.activeElement?.matches("[aria-invalid=true]")) node.focus();
    return true;
  };
  return {
    node: h("div", { class: `field ${node.type === "checkbox" ? "field-check" : ""}` }, label, node, h("p", { class: "hint", id: hint }, hintOf(schema)), why),
    read,
    write(value) {
      fillIn(value);
      return value === undefined || isSame(read(), value) ? [] : [""];
    },
    check() {
      const wrong = flawOf(node, read);
      if (wrong) mark("", `${schema.title ?? name} ${wrong}`);
      return !wrong;
    },
    mark,
    clear() {
      why.textContent = "";
      node.removeAttribute("aria-invalid");
    },
  };
}

/** Why what stands in a control cannot be read; null where it can. The value of a control that is half filled in is empty. */
function flawOf(node, read) {
  if (node.validity.badInput) return node.type === "number" ? "is not a number" : "is incomplete";
  try {
    read();
    return null;
  } catch (error) {
    return `is not JSON: ${error.message}`;
  }
}

function isSame(one, other) {
  return one !== undefined && write(one) === write(other);
}

function hintOf(schema) {
  const bounds = [
    schema.minimum !== undefined && schema.maximum !== undefined ? `${schema.minimum} to ${schema.maximum}` : schema.minimum !== undefined ? `at least ${schema.minimum}` : schema.maximum !== undefined ? `at most ${schema.maximum}` : null,
    schema.maxLength !== undefined ? `at most ${schema.maxLength} characters` : null,
    typeOf(schema) === "array" && isPlain(schema.items) ? "one per line" : null,
  ].filter(Boolean).join(", ");
  return [schema.description, bounds && `${bounds[0].toUpperCase()}${bounds.slice(1)}.`].filter(Boolean).join(" ");
}

function isPlain(schema) {
  return ["string", "number", "integer"].includes(typeOf(schema ?? {}));
}

/** A control for one value: what it is, how it is read (undefined: not given), and how it is filled. */
function controlOf(schema, isRequired, attributes) {
  const type = typeOf(schema);
  if (schema.enum || type === "boolean") return choiceOf(schema, isRequired, attributes);
  if (type === "integer" || type === "number") {
    const node = h("input", { ...attributes, type: "number", step: type === "integer" ? 1 : "any", min: schema.minimum, max: schema.maximum });
    return { node, read: () => (node.value === "" ? undefined : numberOf(node.value)), write: (value) => { node.value = value ?? ""; } };
  }
  if (type === "string") {
    const isLong = (schema.maxLength ?? 0) > LONG;
    const kinds = { date: "date", email: "email", uri: "url", time: "time" };
    const node = isLong ? h("textarea", { ...attributes, rows: 4 }) : h("input", { ...attributes, type: kinds[schema.format] ?? "text", autocomplete: "off", placeholder: schema.format === "date-time" ? "2026-01-31T12:00:00Z" : null });
    return { node, read: () => (node.value === "" ? undefined : node.value), write: (value) => { node.value = value ?? ""; } };
  }
  if (type === "array" && isPlain(schema.items)) {
    const isNumber = typeOf(schema.items) !== "string";
    const node = h("textarea", { ...attributes, rows: 3 });
    const lines = () => node.value.split("\n").map((line) => line.trim()).filter(Boolean);
    return { node, read: () => (node.value.trim() === "" ? undefined : lines().map((line) => (isNumber && !Number.isNaN(Number(line)) ? numberOf(line) : line))), write: (value) => { node.value = (value ?? []).join("\n"); } };
  }
  const node = h("textarea", { ...attributes, rows: 4, class: "mono", spellcheck: "false", placeholder: "JSON" });
  return { node, read: () => (node.value.trim() === "" ? undefined : parse(node.value)), write: (value) => { node.value = value === undefined ? "" : write(value, 2); } };
}

/** A number as it was typed: many an integer beyond 2^53 would be another one in JavaScript. */
function numberOf(text) {
  return NUMBER.test(text) ? parse(text) : Number(text);
}

function choiceOf(schema, isRequired, attributes) {
  if (!schema.enum && (isRequired || schema.default !== undefined)) {
    const node = h("input", { ...attributes, type: "checkbox" });
    return { node, read: () => node.checked, write: (value) => { node.checked = value === true; } };
  }
  const values = schema.enum ?? [true, false];
  const words = (value) => (value === true ? "Yes" : value === false ? "No" : typeof value === "string" ? value : write(value));
  const node = h("select", attributes, h("option", { value: "" }, isRequired ? "Choose one" : "Not given"), values.map((value, place) => h("option", { value: place }, words(value))));
  return {
    node,
    read: () => (node.value === "" ? undefined : values[Number(node.value)]),
    write: (value) => {
      const place = values.findIndex((each) => write(each) === write(value));
      node.value = place < 0 ? "" : String(place);
    },
  };
}
