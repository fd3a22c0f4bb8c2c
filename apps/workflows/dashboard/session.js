// Who is logged in, and what they may do. Without authentication everybody is an administrator, and nothing is shown of it.

import { get, post } from "./api.js";
import { h } from "./dom.js";

const ORDER = ["public", "viewer", "operator", "admin"];

let who = { name: "anonymous", scope: "admin", tokenId: null, csrfToken: null };

export async function begin() {
  try {
    who = await get("/session");
  } catch {
    // The service is away, or leads to the page to log in: what may not be done is refused by it anyway.
    return;
  }
  const account = document.getElementById("account");
  if (!who.tokenId) return;
  account.replaceChildren(
    h("span", { class: "who", title: `Logged in as ${who.name}, who may ${MAY[who.scope]}` }, h("span", { class: "who-name" }, who.name), h("span", { class: "quiet" }, who.scope)),
    h("button", { type: "button", class: "button plain small", title: `Log out ${who.name}`, on: { click: logOut } }, "Log out"));
}

const MAY = { viewer: "look and change nothing", operator: "change workflows and variables, and start executions", admin: "do everything" };

/** Whether whoever is logged in may do what needs `scope`. */
export function may(scope) {
  return ORDER.indexOf(who.scope) >= ORDER.indexOf(scope);
}

/** Who is logged in: name, scope, tokenId. */
export function whoIs() {
  return who;
}

async function logOut() {
  // Logged out already is logged out as well.
  await post("/logout").catch(() => null);
  location.assign("/login");
}

/** Look whether the session is still good; if it is not, this leads to the page to log in. */
export async function check() {
  await get("/session").catch(() => null);
}

