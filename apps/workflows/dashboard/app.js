// Where the page begins: the theme, and the way from an address behind the # to a view.

import { h, show } from "./dom.js";
import { trouble } from "./ui.js";
import { workflows } from "./views/workflows.js";
import { workflow } from "./views/workflow.js";
import { editor } from "./views/editor.js";
import { executions } from "./views/executions.js";
import { execution } from "./views/execution.js";
import { system } from "./views/system.js";

const ROUTES = [
  [/^\/workflows$/, "workflows", workflows],
  [/^\/new$/, "workflows", editor],
  [/^\/workflows\/([^/]+)\/edit$/, "workflows", editor],
  [/^\/workflows\/([^/]+)$/, "workflows", workflow],
  [/^\/executions$/, "executions", executions],
  [/^\/executions\/([^/]+)$/, "executions", execution],
  [/^\/system$/, "system", system],
];

const main = document.getElementById("main");
let leave = null;
let shown = null;

/** A view is `view(root, id, parameters)`: it draws itself into root and returns a function that ends it, or nothing. */
function arrive() {
  const address = location.hash.replace(/^#/, "");
  if (!address.startsWith("/")) {
    // The skip link, or nothing at all.
    if (address === "") location.replace("#/workflows");
    return;
  }
  const [path, search = ""] = address.split("?");
  const route = ROUTES.find(([pattern]) => pattern.test(path));
  if (!route) {
    location.replace("#/workflows");
    return;
  }
  const [pattern, section, view] = route;
  if (leave) leave();
  leave = null;
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.dataset.section === section) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const root = h("div", { class: `view view-${view.name}` });
  main.replaceChildren(root);
  const first = shown === null;
  if (shown !== path) scrollTo(0, 0);
  shown = path;
  try {
    leave = view(root, decodeURIComponent(pattern.exec(path)[1] ?? ""), new URLSearchParams(search)) ?? null;
  } catch (error) {
    show(root, trouble(error));
    throw error;
  }
  // Whoever reads by ear hears where they are; at the first view the browser says so itself.
  if (!first) (root.querySelector("h1") ?? main).focus({ preventScroll: true });
}

addEventListener("hashchange", arrive);

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
arrive();
