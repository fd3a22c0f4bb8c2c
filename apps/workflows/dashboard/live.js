// Live updates by Server-Sent Events. The browser reconnects by itself and says what it saw last; where updates were lost
// all the same, the service says so (gap), and the view reads again what it shows. A connection that stays lost is told of
// calmly, over the page and not in it, so that nothing moves.

import { get, query } from "./api.js";
import { h } from "./dom.js";
import { check } from "./session.js";
import { time } from "./time.js";
import { isAwaited } from "./ui.js";

const NAMES = ["execution-requested", "action-result", "execution-ended", "workflow-changed", "wake-up"];
const RECONNECT_AFTER = 2000;
const TOLD_AFTER = 5000;
const HIDDEN_FOR = 10_000;
const FIRST_LOOK = 1000;
const LONGEST_LOOK = 60_000;
const MOST_RUNNING = 500;

let watching = 0;
let lostAt = null;
let telling = null;

function say(state) {
  const indicator = document.getElementById("live");
  if (indicator.dataset.state === state) return;
  indicator.dataset.state = state;
  indicator.textContent = { on: "Live", off: "Reconnecting", none: "" }[state];
  indicator.title = { on: "What happens is shown while it happens.", off: "", none: "" }[state];
  clearTimeout(telling);
  const outage = document.getElementById("outage");
  if (state !== "off") {
    lostAt = null;
    outage.hidden = true;
    return;
  }
  lostAt ??= new Date();
  telling = setTimeout(() => {
    const why = navigator.onLine ? "The service does not answer." : "This device is offline.";
    outage.replaceChildren(h("span", null, h("strong", null, why), " What you see is as of ", time(lostAt.toISOString()), "; it goes on by itself."));
    outage.hidden = false;
  }, TOLD_AFTER);
}

/**
 * Call `onUpdate(name, data)` for what happens and `onGap()` where something was missed; returns a function that ends it.
 * A page that nobody sees holds no connection: browsers open only six to a service, for all its pages together.
 */
export function watch(parameters, onUpdate, onGap) {
  let source = null;
  let timer = null;
  const open = () => {
    clearTimeout(timer);
    source = new EventSource(`/v1/events/stream${query(parameters)}`);
    source.addEventListener("open", () => say("on"));
    source.addEventListener("gap", () => onGap());
    // What happened between reading and listening is told by nobody: read once more.
    source.addEventListener("hello", () => onGap());
    for (const name of NAMES) source.addEventListener(name, (event) => onUpdate(name, JSON.parse(event.data)));
    source.addEventListener("error", () => {
      if (source === null) return;
      say("off");
      if (source.readyState !== EventSource.CLOSED) return;
      // Turned away rather than broken off: perhaps nobody is logged in any more.
      check();
      timer = setTimeout(() => {
        open();
        onGap();
      }, RECONNECT_AFTER);
    });
  };
  const close = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };
  const look = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(close, HIDDEN_FOR);
    else if (source === null || source.readyState === EventSource.CLOSED) open();
  };
  document.addEventListener("visibilitychange", look);
  watching += 1;
  open();
  return () => {
    document.removeEventListener("visibilitychange", look);
    close();
    watching -= 1;
    // The next view is about to watch as well: what is told of the connection need not flicker.
    setTimeout(() => { if (watching === 0) say("none"); }, 1000);
  };
}

/**
 * Return a function that begins to look again, more and more rarely, as long as something `isOpen`. What was published just
 * before the listening began may not be in the database yet when it is read; nobody would tell of it a second time.
 */
export function looking(isOpen, read) {
  let timer = null;
  let delay = 0;
  let due = Infinity;
  const arm = () => {
    clearTimeout(timer);
    due = performance.now() + delay;
    timer = setTimeout(look, delay);
  };
  const look = async () => {
    if (!isOpen()) {
      due = Infinity;
      return;
    }
    due = 0; // nothing else is asked until this is answered
    delay = Math.min(delay * 2, LONGEST_LOOK);
    await read();
    arm();
  };
  const begin = () => {
    delay = FIRST_LOOK;
    // One that comes sooner is not put off: where something happens all the time, there would never be any.
    if (due > performance.now() + delay) arm();
  };
  begin.stop = () => {
    clearTimeout(timer);
    isOpen = () => false;
  };
  return begin;
}

/**
 * Return a function that begins to look which executions have begun, as long as some `areAwaited`: no event says so. One
 * request asks for all of them; `learn(running)` is given those that run, by their ids.
 */
export function beginnings(areAwaited, learn, workflowId = "") {
  return looking(areAwaited, async () => {
    const page = await get(`/v1/executions${query({ status: "running", workflowId, limit: MOST_RUNNING })}`).catch(() => null);
    if (page) learn(new Map(page.items.map((each) => [each.executionId, each])));
  });
}

/** Note of the awaited among `items` that they run, as those `running` do by their ids; returns them. */
export function haveBegun(items, running) {
  const begun = (items ?? []).filter((each) => isAwaited(each) && running.has(each.executionId));
  for (const each of begun) Object.assign(each, { status: "running", startedAt: each.startedAt ?? running.get(each.executionId).startedAt });
  return begun;
}

/** Return a function that calls `work` at most once in `ms`, and once more after the last call. */
export function calmly(ms, work) {
  let timer = null;
  let last = -Infinity;
  const run = () => {
    timer = null;
    last = performance.now();
    work();
  };
  const ask = () => {
    if (timer === null) timer = setTimeout(run, Math.max(0, last + ms - performance.now()));
  };
  ask.stop = () => clearTimeout(timer);
  return ask;
}

/** Return a function that calls `work` when it has not been called again for `ms`: for what follows typing. */
export function afterTyping(ms, work) {
  let timer = null;
  const ask = () => {
    clearTimeout(timer);
    timer = setTimeout(work, ms);
  };
  ask.stop = () => clearTimeout(timer);
  return ask;
}
