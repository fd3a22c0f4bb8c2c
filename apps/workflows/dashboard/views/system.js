// How the services are.

import { get } from "../api.js";
import { h, show } from "../dom.js";
import { duration, time } from "../time.js";
import { badge, heading, loading, shortId, sign, trouble } from "../ui.js";

const EVERY = 4000;

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
    timer = setTimeout(read, EVERY);
  }

  const reachable = (name, status, text) => h("div", { class: "card tile", key: name }, h("h2", null, name), h("div", { class: "figure" }, status === "ok" ? badge("ok", "Reachable") : badge("failed", "Unreachable")), h("span", { class: "sub" }, status === "ok" ? text : "See whether it runs, and whether the service's settings name it."));

  function figure(name, value, kind, text) {
    return h("div", { class: "card tile", key: name }, h("h2", null, name), h("div", { class: "figure" }, value, " ", kind ? sign(kind, 20) : null), h("span", { class: "sub" }, text));
  }

  function tiles(found) {
    const late = found.scheduler ? found.scheduler.latenessSeconds : null;
    const lag = found.consumers ? Object.values(found.consumers).flatMap((group) => Object.values(group.lag)).reduce((sum, each) => sum + each, 0) : null;
    return h("div", { class: "grid" },
      reachable("Database", found.database, "Definitions, executions and schedules."),
      reachable("Kafka", found.kafka, "The log of what is asked for and what was done."),
      figure("Scheduler lateness", late === null ? "–" : late < 1 ? "On time" : duration(late * 1000), late === null ? null : late < 5 ? "ok" : "failed",
        late !== null && late >= 5 ? "Due work is not released. See whether the scheduler runs." : "Ticks and retries are released when they are due."),
      figure("Consumer lag", lag === null ? "–" : lag.toLocaleString(), lag === null ? null : lag < 1000 ? "ok" : "waiting", "Records that no service has dealt with yet."),
      figure("Dead letters", found.deadLetters === null ? "–" : found.deadLetters.toLocaleString(), found.deadLetters ? "failed" : found.deadLetters === 0 ? "ok" : null,
        found.deadLetters ? ["Records nobody could take, on ", h("code", null, "workflow.dead-letter"), ", with the reason."] : "Every record was understood."));
  }

  function runners(found) {
    if (!found.runners) return h("p", { class: "quiet" }, "Not known while the database is away.");
    if (!found.runners.length) return h("div", { class: "notice notice-bad" }, sign("failed"), h("div", null, h("strong", null, "No runner is alive"), h("p", null, "Accepted executions wait until one is: start one with wf-runner worker.")));
    return h("div", { class: "card scroll", tabindex: "0" }, h("table", null,
      h("thead", null, h("tr", null, ["Runner", "Status", "Host", "Process", "Running since"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", null, found.runners.map((each) => h("tr", { key: each.runner },
        h("td", { class: "mono" }, `…${shortId(each.runner)}`), h("td", null, each.status === "silent" ? badge("failed", `Silent for ${duration(each.silentSeconds * 1000)}`) : badge("ok", "Alive")),
        h("td", null, each.host ?? "–"), h("td", null, String(each.pid ?? "–")), h("td", null, time(each.startedAt)))))));
  }

  function consumers(found) {
    if (!found.consumers) return h("p", { class: "quiet" }, "Not known while Kafka is away.");
    return h("div", { class: "card scroll", tabindex: "0" }, h("table", null,
      h("thead", null, h("tr", null, ["Service", "State", "Topic"].map((name) => h("th", { scope: "col" }, name)), h("th", { class: "right", scope: "col" }, "Workers"), h("th", { class: "right", scope: "col" }, "Lag"))),
      h("tbody", null, Object.entries(found.consumers).flatMap(([name, group]) => Object.entries(group.lag).map(([topic, lag]) => h("tr", { key: `${name}-${topic}` },
        h("td", null, name), h("td", null, group.state === "Stable" ? badge("ok", "Stable") : badge(group.members.length ? "waiting" : "failed", group.state === "Empty" || !group.members.length ? "Nobody there" : group.state)),
        h("td", { class: "mono" }, topic), h("td", { class: "right" }, String(group.members.length)), h("td", { class: "right" }, lag.toLocaleString())))))));
  }

  function draw() {
    if (!state.found) {
      show(root, heading("System"), state.error ? trouble(state.error, read) : loading(4));
      return;
    }
    show(root, heading("System"), state.error ? trouble(state.error, read) : null, tiles(state.found),
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
