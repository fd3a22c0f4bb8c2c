// Live updates by Server-Sent Events. The browser reconnects by itself and says what it saw last; where updates were lost
// all the same, the service says so (gap), and the view reads again what it shows.

const NAMES = ["execution-requested", "action-result", "execution-ended", "workflow-changed", "wake-up"];
const RECONNECT_AFTER = 2000;
const indicator = () => document.getElementById("live");

function say(state) {
  const node = indicator();
  if (node.dataset.state === state) return;
  node.dataset.state = state;
  node.textContent = { on: "Live", off: "Reconnecting", none: "" }[state];
}

/** Call `onUpdate(name, data)` for what happens and `onGap()` where something was missed; returns a function that ends it. */
export function watch(parameters, onUpdate, onGap) {
  let source = null;
  let timer = null;
  let ended = false;
  const open = () => {
    const set = Object.entries(parameters).filter(([, value]) => value);
    source = new EventSource(`/v1/events/stream${set.length ? `?${new URLSearchParams(set)}` : ""}`);
    source.addEventListener("open", () => say("on"));
    source.addEventListener("gap", () => onGap());
    // What happened between reading and listening is told by nobody: read once more.
    source.addEventListener("hello", () => onGap());
    for (const name of NAMES) source.addEventListener(name, (event) => onUpdate(name, JSON.parse(event.data)));
    source.addEventListener("error", () => {
      if (ended) return;
      say("off");
      if (source.readyState === EventSource.CLOSED) {
        timer = setTimeout(() => {
          open();
          onGap();
        }, RECONNECT_AFTER);
      }
    });
  };
  open();
  return () => {
    ended = true;
    clearTimeout(timer);
    source.close();
    say("none");
  };
}

/**
 * Return a function that begins to look again, more and more rarely, as long as something `isOpen`. What was published just
 * before the listening began may not be in the database yet when it is read; nobody would tell of it a second time.
 */
export function looking(isOpen, read) {
  let timer = null;
  let delay = 0;
  const arm = () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      if (!isOpen()) return;
      delay = Math.min(delay * 2, 60_000);
      await read();
      arm();
    }, delay);
  };
  const begin = () => {
    delay = 1500;
    arm();
  };
  begin.stop = () => {
    clearTimeout(timer);
    isOpen = () => false;
  };
  return begin;
}

/** Return a function that calls `work` at most once in `ms`, and once more after the last call. */
export function calmly(ms, work) {
  let timer = null;
  let last = 0;
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
