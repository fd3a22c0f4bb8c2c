// What one attempt of one action did: its log, why it failed, what was sent and what was answered.

import { link } from "../api.js";
import { h } from "../dom.js";
import { parse, write } from "../json.js";
import { duration, took } from "../time.js";
import { block, other, plural, sign } from "../ui.js";

const SIGNS = { ok: "ok", skipped: "skipped", unknown: "unknown" };
const SPOKEN = { ok: " succeeded", skipped: " was skipped", unknown: " has an unknown outcome", failed: " failed" };
const MOST_CHILDREN = 20;
const PARTS = [["token", "Token"], ["dns", "Name"], ["connect", "Connection"], ["tls", "TLS"], ["firstByte", "First byte"], ["total", "In all"]];

/** Whether an execution whose actions were ended was cut short by this; the step that it was at fails in the class of that name. */
export const cutsShort = (why) => ["timed-out", "given-up", "cancelled"].includes(why);

/** A number of bytes, as in 812 B, 12.4 KB, 3.1 MB. */
function bytes(count) {
  if (count < 1000) return `${count} B`;
  return count < 1_000_000 ? `${(count / 1000).toFixed(1)} KB` : `${(count / 1_000_000).toFixed(1)} MB`;
}

function headers(given) {
  const names = Object.entries(given ?? {});
  return names.length ? h("dl", { class: "headers mono" }, names.map(([name, value]) => h("div", { key: name }, h("dt", null, name), h("dd", null, String(value))))) : null;
}

function timings(found) {
  const parts = PARTS.filter(([name]) => found?.[name] !== null && found?.[name] !== undefined);
  return parts.length ? h("dl", { class: "timings" }, parts.map(([name, word]) => h("div", { key: name }, h("dt", null, word), h("dd", null, duration(found[name]))))) : null;
}

/** What is said of a body that is not all there. */
function remark(body, jsonError) {
  if (!body) return null;
  const words = [];
  if (!body.complete) words.push(`Read up to ${bytes(body.length)}, which is not all of it (maxBody).`);
  if (body.storedLength < body.length) words.push(`Truncated: the first ${bytes(body.storedLength)} of ${bytes(body.length)} are kept (storeBody).`);
  if (body.binary) words.push("Not text: shown in base64.");
  if (jsonError && body.length && !body.truncated) words.push(`Not read as JSON: ${jsonError}`);
  return words.length ? h("p", { class: "remark" }, words.join(" ")) : null;
}

/** Text as it is, or, where it is JSON, laid out. */
function laidOut(text) {
  try {
    return write(parse(text), 2);
  } catch {
    return text;
  }
}

function sent(request, name) {
  if (!request.bodyLength) return null;
  const size = bytes(request.bodyLength);
  if (request.body === undefined) return h("p", { class: "quiet small-text" }, `Body of ${size}, which is not kept`);
  return [
    request.bodyTruncated ? h("p", { class: "remark" }, `Truncated: how the body of ${size} begins (storeRequestBody).`) : null,
    block(laidOut(request.body), `Body of the request of ${name}`)];
}

function exchange(output, name) {
  const { request, timings: spent, status, headers: answered, redirects, body, text, json, jsonError, base64, ...rest } = output;
  const content = json !== undefined ? write(json, 2) : text ?? base64;
  const facts = [status === undefined ? "no answer" : `status ${status}`, body ? bytes(body.length) : null, spent?.total === undefined || spent.total === null ? null : duration(spent.total)].filter(Boolean);
  return h("details", { key: "exchange" },
    h("summary", null, "Request and response", h("span", { class: "quiet" }, ` ${facts.join(", ")}`)),
    h("div", { class: "exchange" },
      h("section", { "aria-label": "Request" },
        h("h4", null, "Request"),
        h("p", { class: "mono target" }, h("strong", null, request.method), ` ${request.url}`),
        headers(request.headers),
        sent(request, name),
        redirects?.length ? [h("h4", null, "Redirected to"), redirects.map((each) => h("p", { class: "mono target" }, each))] : null),
      h("section", { "aria-label": "Response" },
        h("h4", null, "Response"),
        h("p", { class: "mono target" }, h("strong", null, status === undefined ? "None came" : String(status))),
        headers(answered),
        timings(spent),
        remark(body, jsonError ?? body?.jsonError),
        content ? block(content, `Body of the response to ${name}`) : body ? h("p", { class: "quiet small-text" }, "Empty body") : null,
        Object.keys(rest).length ? block(write(rest, 2), `More of ${name}`) : null)));
}

function produced(output, name) {
  if (!output || !Object.keys(output).length) return null;
  if (output.request) return exchange(output, name);
  return h("details", { key: "output" }, h("summary", null, "Output"), block(write(output, 2), `Output of ${name}`));
}

/** The executions that a step has triggered, as links; of a long list the first. */
export function children(output) {
  const ids = output.executionIds ?? [output.executionId];
  if (!ids.length) return null;
  const more = ids.length - MOST_CHILDREN;
  return h("p", { class: "small-text children" }, "Triggered ", ids.slice(0, MOST_CHILDREN).map((id) => [other(id), " "]),
    more > 0 ? h("a", { href: link`#/executions?workflow=${output.workflowId}` }, `and ${plural(more, "other")}`) : null);
}

/** A step of the timeline; `action` is what the definition says of it, if anything. */
export function step(outcome, action) {
  const log = outcome.logs.join("\n");
  const kind = SIGNS[outcome.status] ?? "failed";
  return h("li", { class: `step step-${kind}`, key: `${outcome.attempt}-${outcome.actionId}${cutsShort(outcome.error?.class) ? "-cut" : ""}` },
    sign(kind),
    h("div", { class: "step-name" }, outcome.actionId, h("span", { class: "visually-hidden" }, SPOKEN[outcome.status] ?? SPOKEN.failed), action ? h("span", { class: "step-type" }, action.type) : null),
    h("div", { class: "step-took right quiet" }, outcome.status === "skipped" ? "Skipped" : took(outcome.startedAt, outcome.finishedAt)),
    h("div", { class: "step-body" },
      log ? block(log, `Log of ${outcome.actionId}`) : null,
      outcome.error ? h("p", { class: "why" }, outcome.error.message, outcome.error.class ? h("span", { class: "quiet" }, ` (${outcome.error.class})`) : null) : null,
      outcome.continued ? h("p", { class: "remark" }, "It went on all the same: continueOnError.") : null,
      action?.type === "trigger-workflow" && outcome.output ? children(outcome.output) : null,
      produced(outcome.output, outcome.actionId)));
}
