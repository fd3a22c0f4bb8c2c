// What a definition says of an execution: its steps in the order of their lists, and why a failed one is tried again.

import { exactly, millisOf } from "../time.js";

const LISTS = [["actions", null], ["onFailure", "On failure"], ["finally", "Finally"]];

/** The steps of a definition: their actions by id, each with the `list` it stands in and that list's name in `heading`. */
export function stepsOf(definition) {
  const steps = new Map();
  for (const [list, heading] of LISTS) {
    for (const action of definition?.[list] ?? []) steps.set(action.actionId, { ...action, list, heading });
  }
  return steps;
}

function policyOf(definition, action) {
  const [own, shared, short] = [action?.retry ?? {}, definition.retry ?? {}, definition.backoff ?? {}];
  const pick = (name, byDefault) => own[name] ?? shared[name] ?? byDefault;
  return {
    retries: pick("attempts", (definition.retries ?? 3) + 1) - 1,
    isOwn: own.attempts !== undefined,
    initial: pick("initial", short.base ?? "1s"),
    factor: pick("factor", short.factor ?? 2),
    cap: pick("cap", short.cap ?? "5m"),
    jitter: pick("jitter", short.jitter ?? "full"),
  };
}

/**
 * Why `failed` was tried again when it was, in words: which retry it was and how long the policy waits before it.
 * `outcomes` are those up to it.
 */
export function whyAgain(definition, failed, outcomes) {
  if (!definition) return null;
  const steps = stepsOf(definition);
  const policy = policyOf(definition, steps.get(failed.actionId));
  const failures = outcomes.filter((each) => each.status === "failed" && !each.continued);
  const own = failures.filter((each) => each.actionId === failed.actionId).length;
  // Retries that steps share are counted over all of them; the wait grows with the failures of each.
  const retry = policy.isOwn ? own : failures.filter((each) => steps.get(each.actionId)?.retry?.attempts === undefined).length;
  if (retry < 1 || retry > policy.retries) return null;
  const bound = Math.min(millisOf(policy.cap), millisOf(policy.initial) * policy.factor ** (own - 1));
  const asked = failed.output?.headers?.["retry-after"];
  const wait = policy.jitter === "none" ? `a wait of ${exactly(bound)}` : `a random wait of up to ${exactly(bound)}`;
  return `Retry ${retry} of ${policy.retries}, after ${wait}${asked ? `; the answer asked for ${/^\d+$/.test(asked) ? `${asked} s` : asked} (Retry-After)` : ""}`;
}
