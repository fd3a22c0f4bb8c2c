// The bar that shows when an execution worked and when it waited.

import { h } from "../dom.js";
import { duration } from "../time.js";
import { cutsShort } from "./outcome.js";

/** The bar of `found`, whose outcomes come `byAttempt`; `state` is what it does now: running, waiting, or nothing. */
export function lane(found, byAttempt, state) {
  const own = found.executedActions.filter((each) => !each.carriedOver);
  if (!found.startedAt || !own.length) return null;
  const from = Date.parse(found.startedAt);
  const to = Math.max(found.finishedAt ? Date.parse(found.finishedAt) : Date.now(), from + 1);
  const percent = (ms) => `${((100 * ms) / (to - from)).toFixed(3)}%`;
  const pieces = (found.restarts ?? []).filter((each) => each.since && !cutsShort(each.why)).map((each) => ["wait", Date.parse(each.since), Date.parse(each.at), `Interrupted; it went on ${duration(Date.parse(each.at) - Date.parse(each.since))} later`]);
  let last = null;
  for (const [attempt, outcomes] of byAttempt) {
    for (const each of outcomes) {
      if (each.carriedOver || each.status === "skipped") continue;
      const [began, over] = [Date.parse(each.startedAt), Date.parse(each.finishedAt)];
      if (last !== null && (attempt > last.attempt || last.isDelay)) pieces.push(["wait", last.at, Date.parse(each.began), `Waited ${duration(Date.parse(each.began) - last.at)}`]);
      if (each.status !== "waiting") pieces.push([each.status === "ok" ? "ok" : "failed", began, over, `${each.actionId}, attempt ${attempt}: ${duration(over - began)}`]);
      last = { attempt, at: over, isDelay: each.isDelay };
    }
  }
  if (state === "running" && last) {
    const resumed = Math.max(last.at, found.resumedAt ? Date.parse(found.resumedAt) : 0);
    if (resumed > last.at) pieces.push(["wait", last.at, resumed, `Waited ${duration(resumed - last.at)}`]);
    pieces.push(["running", Math.max(resumed, ...pieces.map(([, , over]) => over)), to, "Running"]);
  }
  if (state === "waiting" && last) pieces.push(["wait", last.at, to, "Waiting"]);
  pieces.sort(([, one], [, another]) => one - another);
  const words = pieces.map(([, , , word]) => word).join("; ");
  return h("div", { class: "lane", key: "lane" },
    h("div", { class: "lane-bar", role: "img", "aria-label": `Timeline: ${words}` }, pieces.map(([kind, began, over, word], place) => h("div", {
      class: `segment segment-${kind}`, key: place, title: word, style: { "--from": percent(began - from), "--length": percent(over - began) },
    }))),
    h("div", { class: "lane-scale", "aria-hidden": "true" }, h("span", null, "0 s"), h("span", null, duration(to - from))));
}
