// The HTTP API. What is refused is thrown as a Problem, which says in words what is wrong and how to mend it. Numbers stay as
// they are written.

import { parse, write } from "./json.js";

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `The service answered ${status}.`);
    this.status = status;
    this.title = body.title || "Something went wrong";
    this.errors = body.errors ?? [];
    this.body = body;
  }
}

const UNREACHABLE = {
  title: "The service does not answer",
  detail: "The service cannot be reached. See whether it runs.",
};

let leaving = false;

/** Go to the page to log in, which leads back here. */
function logIn() {
  if (leaving) return;
  leaving = true;
  location.assign(`/login?next=${encodeURIComponent(`/${location.hash}`)}`);
}

/** Whether the page is being left for the one to log in. */
export function isLoggingIn() {
  return leaving;
}

async function send(method, path, { body, text, type, headers = {}, signal } = {}) {
  const options = { method, headers: { Accept: "application/json", ...headers }, signal };
  if (method !== "GET") {
    // Whoever is logged in says with each change that it comes from this page, and from no other.
    const token = document.cookie.match(/(?:^|; )wf_csrf=([0-9a-f]+)/);
    if (token) options.headers["X-CSRF-Token"] = token[1];
  }
  if (body !== undefined) {
    options.body = write(body);
    options.headers["Content-Type"] = "application/json";
  } else if (text !== undefined) {
    options.body = text;
    options.headers["Content-Type"] = type;
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, UNREACHABLE);
  }
  const answer = response.status === 204 ? null : await response.text().then(parse).catch(() => ({}));
  if (response.status === 401) logIn();
  if (!response.ok) throw new Problem(response.status, answer ?? {});
  return { answer, etag: response.headers.get("ETag") };
}

export async function get(path, options) {
  return (await send("GET", path, options)).answer;
}

/** What is read to be changed and sent back, with its ETag. */
export async function getTagged(path) {
  return send("GET", path);
}

export async function post(path, body, options = {}) {
  return (await send("POST", path, { body, ...options })).answer;
}

export async function put(path, body, etag) {
  return (await send("PUT", path, { body, headers: etag ? { "If-Match": etag } : {} })).answer;
}

export async function remove(path) {
  return (await send("DELETE", path)).answer;
}

/** What is wrong with a definition, and its other notation. */
export async function validate(text, notation, signal) {
  const type = notation === "yaml" ? "application/yaml" : "application/json";
  return (await send("POST", "/v1/workflows/validate", { text, type, signal })).answer;
}

/** A query string of what is set. */
export function query(parameters) {
  const set = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return set.length ? `?${new URLSearchParams(set)}` : "";
}

/** An address, with what is put into it made safe for one: link`#/workflows/${id}`. */
export function link(parts, ...values) {
  return parts.reduce((made, part, place) => made + encodeURIComponent(values[place - 1]) + part);
}
