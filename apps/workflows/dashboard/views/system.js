// How the services are.

import { get } from "../api.js";
import { h, show } from "../dom.js";
import { duration, time } from "../time.js";
import { badge, heading, loading, parts, shortId, sign, trouble } from "../ui.js";

const EVERY = 4000;
const MUCH_LAG = 1000;
const MUCH_TOO_LATE = 5; // seconds

/** What stands at the top of each part of the system's view. */
export function systemHead(current, ...rest) {
  return [heading("System", rest), parts("System", [
    ["#/system", "Health"],
    ["#/system/dead-letters", "Dead letters"],
    ["#/system/secrets", "Secrets"],
    ["#/system/variables", "Variables"],
    ["#/system/tokens", "Tokens", "admin"],
    ["#/system/audit", "Audit log", "admin"],
  ], current)];
}

export function system(root) {
  document.title = "System – Workflows";
  const state = { found: null, error: null };
  let timer = null;
  let ended = false;

  async function read() {
    clearTimeout(timer);
    if (!document.hidden) {
      try {
        state.found = await get("/v1/system");
        state.error = null;
      } catch (error) {
        state.error = error;
      }
      if (ended) return;
      draw();
    }
    clearTimeout(timer); // of another reading, which somebody asked for meanwhile: one goes on
    timer = setTimeout(read, EVERY);
  }

  function tile(name, value, kind, text, href = null) {
    return h("div", { class: "card tile", key: name }, h("h2", null, name),
      h("div", { class: "figure" }, kind ? sign(kind, 20) : null, h("span", null, value)),
      h("p", { class: "sub" }, text, href ? [" ", h("a", { href }, "See them")] : null));
  }

  const reachable = (name, status, text) => (status === "ok"
    ? tile(name, "Reachable", "ok", text)
    : tile(name, "Unreachable", "failed", "See whether it runs, and whether the service's settings name it."));

  function lateness(scheduler) {
    if (!scheduler) return tile("Scheduler", "–", null, "Not known while the database is away.");
    const late = scheduler.latenessSeconds;
    if (late >= MUCH_TOO_LATE) return tile("Scheduler", `${duration(late * 1000)} late`, "failed", "Due work is not released. See whether the scheduler runs.");
    return tile("Scheduler", late < 1 ? "On time" : `${duration(late * 1000)} late`, "ok", "Ticks and retries are released when they are due.");
  }

  function lag(consumers) {
    if (!consumers) return tile("Consumer lag", "–", null, "Not known while Kafka is away.");
    const sum = Object.values(consumers).flatMap((group) => Object.values(group.lag)).reduce((all, each) => all + each, 0);
    return tile("Consumer lag", sum.toLocaleString(), sum < MUCH_LAG ? "ok" : "waiting", "Records that no service has dealt with yet.");
  }

  function letters(count) {
    if (count === null) return tile("Dead letters", "–", null, "Not known while Kafka is away.");
    if (!count) return tile("Dead letters", "0", "ok", "Every record was understood.");
    return tile("Dead letters", count.toLocaleString(), "missed", "Records that nobody could take, kept with the reason.", "#/system/dead-letters");
  }

  function tiles(found) {
    return h("div", { class: "grid" },
      reachable("Database", found.database, "Definitions, executions and schedules."),
      reachable("Kafka", found.kafka, "The log of what is asked for and what was done."),
      lateness(found.scheduler), lag(found.consumers), letters(found.deadLetters));
  }

  function runners(found) {
    if (!found.runners) return h("p", { class: "quiet" }, "Not known while the database is away.");
    if (!found.runners.length) return h("div", { class: "notice notice-bad" }, sign("failed"), h("div", null, h("strong", null, "No runner is alive"), h("p", null, "Accepted executions wait until one is: start one with wf-runner worker.")));
    return h("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": "Runners" }, h("table", null,
      h("thead", null, h("tr", null, ["Runner", "Status", "Host"].map((name) => h("th", { scope: "col" }, name)), h("th", { class: "right", scope: "col" }, "Process"), h("th", { class: "right", scope: "col" }, "Running since"))),
      h("tbody", null, found.runners.map((each) => h("tr", { key: each.runner },
        h("td", { class: "mono" }, `…${shortId(each.runner)}`), h("td", null, each.status === "silent" ? badge("failed", `Silent for ${duration(each.silentSeconds * 1000)}`) : badge("ok", "Alive")),
        h("td", null, each.host ?? "–"), h("td", { class: "right" }, String(each.pid ?? "–")), h("td", { class: "right" }, time(each.startedAt)))))));
  }

  function consumers(found) {
    if (!found.consumers) return h("p", { class: "quiet" }, "Not known while Kafka is away.");
    return h("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": "Consumers" }, h("table", null,
      h("thead", null, h("tr", null, ["Service", "State", "Topic"].map((name) => h("th", { scope: "col" }, name)), h("th", { class: "right", scope: "col" }, "Workers"), h("th", { class: "right", scope: "col" }, "Lag"))),
      h("tbody", null, Object.entries(found.consumers).flatMap(([name, group]) => Object.entries(group.lag).map(([topic, behind]) => h("tr", { key: `${name}-${topic}` },
        h("td", null, name), h("td", null, group.state === "Stable" ? badge("ok", "Stable") : badge(group.members.length ? "waiting" : "failed", group.members.length ? group.state : "Nobody there")),
        h("td", { class: "mono" }, topic), h("td", { class: "right" }, String(group.members.length)), h("td", { class: "right" }, behind.toLocaleString())))))));
  }

  function draw() {
    const head = systemHead("#/system");
    if (!state.found) {
      show(root, head, state.error ? trouble(state.error, read) : loading(4));
      return;
    }
    show(root, head, state.error ? trouble(state.error, read) : null, tiles(state.found),
      h("section", { class: "section", key: "runners" }, h("h2", null, "Runners"), runners(state.found)),
      h("section", { class: "section", key: "consumers" }, h("h2", null, "Consumers"), consumers(state.found)));
  }

  draw();
  read();
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}
