// Where the page begins: the theme, who is logged in, and the way from an address behind the # to a view.

import { dismiss } from "./dialogs.js";
import { h, show } from "./dom.js";
import { begin } from "./session.js";
import { empty, heading, trouble } from "./ui.js";
import { workflows } from "./views/workflows.js";
import { upcoming } from "./views/upcoming.js";
import { workflow } from "./views/workflow.js";
import { editor } from "./views/editor.js";
import { executions } from "./views/executions.js";
import { execution } from "./views/execution.js";
import { system } from "./views/system.js";
import { deadLetters } from "./views/dead-letters.js";
import { secrets } from "./views/secrets.js";
import { variables } from "./views/variables.js";
import { tokens } from "./views/tokens.js";
import { audit } from "./views/audit.js";

const ROUTES = [
  [/^\/workflows$/, "workflows", workflows],
  [/^\/upcoming$/, "workflows", upcoming],
  [/^\/new$/, "workflows", editor],
  [/^\/workflows\/([^/]+)\/edit$/, "workflows", editor],
  [/^\/workflows\/([^/]+)$/, "workflows", workflow],
  [/^\/executions$/, "executions", executions],
  [/^\/executions\/([^/]+)$/, "executions", execution],
  [/^\/system$/, "system", system],
  [/^\/system\/dead-letters$/, "system", deadLetters],
  [/^\/system\/secrets$/, "system", secrets],
  [/^\/system\/variables$/, "system", variables],
  [/^\/system\/tokens$/, "system", tokens],
  [/^\/system\/audit$/, "system", audit],
];
const REMEMBERED = 30;

const main = document.getElementById("main");
const memories = new Map(); // of views by entry of the browser's history
let visits = 0;
let leave = null;
let memory = null;

function missing(root) {
  document.title = "Not found – Workflows";
  show(root, heading("Nothing is here"), empty("No view has this address", "Perhaps a link was cut short.", h("a", { class: "button primary", href: "#/workflows" }, "See the workflows"), h("a", { class: "button", href: "#/executions" }, "See the executions")));
}

/** Return what the view remembers that the browser goes back to; an empty memory where it is opened anew. */
function recall() {
  const known = memories.get(history.state?.visit);
  if (known) return known;
  // Entries that an earlier load of the page has left must not be taken for those of this one.
  const visit = `${performance.timeOrigin}-${(visits += 1)}`;
  history.replaceState({ visit }, "");
  const made = {};
  memories.set(visit, made);
  if (memories.size > REMEMBERED) memories.delete(memories.keys().next().value);
  return made;
}

/** Return the section, the view and the id that a path leads to; an id that cannot be read leads nowhere. */
function routeOf(path) {
  for (const [pattern, section, view] of ROUTES) {
    const match = pattern.exec(path);
    if (!match) continue;
    try {
      return [section, view, decodeURIComponent(match[1] ?? "")];
    } catch {
      break;
    }
  }
  return [null, missing, ""];
}

/**
 * A view is `view(root, id, parameters, memory)`: it draws itself into root and returns a function that ends it, or nothing.
 * What it puts into `memory` it finds there again when somebody goes back to it.
 */
function arrive() {
  const address = location.hash.replace(/^#(\/$)?/, "");
  if (!address.startsWith("/")) {
    // A place in the page leads nowhere else, unless there is no page yet.
    if (address === "" || memory === null) location.replace("#/workflows");
    return;
  }
  const [path, search = ""] = address.split("?");
  const [section, view, id] = routeOf(path);
  const first = memory === null;
  if (memory) memory.scrolled = scrollY;
  dismiss();
  if (leave) leave();
  leave = null;
  memory = recall();
  for (const each of document.querySelectorAll("#nav a")) {
    if (each.dataset.section === section) each.setAttribute("aria-current", "page");
    else each.removeAttribute("aria-current");
  }
  const root = h("div", { class: "view" });
  main.replaceChildren(root);
  try {
    leave = view(root, id, new URLSearchParams(search), memory) ?? null;
  } catch (error) {
    show(root, trouble(error));
    throw error;
  } finally {
    scrollTo(0, memory.scrolled ?? 0);
  }
  // Whoever reads by ear hears where they are; at the first view the browser says so itself.
  if (!first) (root.querySelector("h1") ?? main).focus({ preventScroll: true });
}

const toggle = document.getElementById("theme");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (prefersDark.matches ? "dark" : "light")) === "dark";

function drawToggle() {
  const dark = isDark();
  toggle.setAttribute("aria-label", dark ? "Use the light theme" : "Use the dark theme");
  toggle.title = toggle.getAttribute("aria-label");
  toggle.replaceChildren(h("svg", { viewBox: "0 0 24 24", width: 20, height: 20, "aria-hidden": "true", class: "line-icon" },
    dark
      ? [h("circle", { cx: 12, cy: 12, r: 4.2 }), h("path", { d: "M12 2.8v2M12 19.2v2M2.8 12h2M19.2 12h2M5.5 5.5l1.4 1.4M17.1 17.1l1.4 1.4M18.5 5.5l-1.4 1.4M6.9 17.1l-1.4 1.4" })]
      : h("path", { d: "M20 14.2A8.2 8.2 0 0 1 9.8 4 8.2 8.2 0 1 0 20 14.2z" })));
}

toggle.addEventListener("click", () => {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // Without storage it holds until the page is closed.
  }
  drawToggle();
});
prefersDark.addEventListener("change", drawToggle);
drawToggle();

document.querySelector(".skip").addEventListener("click", (event) => {
  // Its address would take the place of the view's: whoever reloads the page then would be led elsewhere.
  event.preventDefault();
  main.focus();
});

history.scrollRestoration = "manual";
await begin();
addEventListener("hashchange", arrive);
arrive();
