// Elements, and bringing what is shown up to date in place: whatever has not changed is left alone, so that focus,
// selection, scroll positions and open disclosures survive every update. Elements with the same key stay the same element.
// An opaque element is somebody else's to update: it has a key, is made once, and is given to every update as it is.

const HANDLERS = Symbol("handlers");
const STYLE = Symbol("style");
const KEY = Symbol("key");
const OPAQUE = Symbol("opaque");
const ORIGINAL = Symbol("original");
const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "path", "circle", "rect", "line", "g", "title"]);

function dispatch(event) {
  event.currentTarget[HANDLERS]?.[event.type]?.(event);
}

function listen(node, handlers) {
  const known = node[HANDLERS] ?? {};
  for (const type of Object.keys(handlers)) if (!(type in known)) node.addEventListener(type, dispatch);
  node[HANDLERS] = { ...Object.fromEntries(Object.keys(known).map((type) => [type, undefined])), ...handlers };
}

function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    if (!(child instanceof Node)) node.append(String(child));
    else node.append(child[OPAQUE] && child.isConnected ? standIn(child) : child);
  }
}

/** Leave what an element shows to whoever asks for it, until `ms` have passed. */
export function keep(node, ms) {
  node[OPAQUE] = true;
  return new Promise((resolve) => setTimeout(() => {
    node[OPAQUE] = false;
    resolve();
  }, ms));
}

let standIns = [];

/** What stands for an opaque element that is shown: to move it, even to where it is, would take focus and scroll position. */
function standIn(original) {
  const node = document.createElement(original.localName);
  node[KEY] = original[KEY];
  node[ORIGINAL] = original;
  standIns.push(node);
  return node;
}

/** Make an element. Special attributes: key, on (handlers by event), style (properties by name), opaque (never updated). */
export function h(tag, attributes, ...children) {
  const node = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  const { key, on, style, opaque, value, ...plain } = attributes ?? {};
  node[KEY] = key;
  if (opaque) node[OPAQUE] = true;
  for (const [name, setting] of Object.entries(plain)) {
    if (setting === null || setting === undefined || setting === false) continue;
    node.setAttribute(name, setting === true ? "" : String(setting));
  }
  if (style) {
    node[STYLE] = style;
    for (const [name, setting] of Object.entries(style)) node.style.setProperty(name, setting);
  }
  if (on) listen(node, on);
  append(node, children);
  if (value !== undefined && value !== null) node.value = value;
  return node;
}

let focused = null; // what lost the focus because it was disabled: it gets it back

/** Focus what had the focus before an update, or the heading where that is gone: the browser would begin at the top of the page. */
function refocus(root, held) {
  focused = held?.isConnected && held.disabled ? held : null;
  if (!held || focused || ![held, document.body].includes(document.activeElement)) return;
  (held.isConnected ? held : root.querySelector("h1"))?.focus({ preventScroll: true });
}

/** Show `children` in `root`, changing no more than has changed. */
export function show(root, ...children) {
  const held = root.contains(document.activeElement) ? document.activeElement : focused;
  const next = document.createElement(root.localName);
  append(next, children);
  syncChildren(root, next);
  // Where what is around it is new, the opaque element must move after all.
  for (const node of standIns) if (node.isConnected) node.replaceWith(node[ORIGINAL]);
  standIns = [];
  refocus(root, held);
}

function isSame(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName && one[KEY] === other[KEY];
}

function sync(old, next) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  if (old[OPAQUE]) return;
  for (const { name, value } of [...next.attributes]) {
    if (name !== "style" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    // People open and close disclosures and dialogs themselves.
    if (name === "style" || (name === "open" && ["DETAILS", "DIALOG"].includes(old.nodeName))) continue;
    if (!next.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const [name, setting] of Object.entries(next[STYLE] ?? {})) {
    if (old.style.getPropertyValue(name) !== setting) old.style.setProperty(name, setting);
  }
  for (const name of Object.keys(old[STYLE] ?? {})) if (!(name in (next[STYLE] ?? {}))) old.style.removeProperty(name);
  old[STYLE] = next[STYLE];
  if (next[HANDLERS] || old[HANDLERS]) listen(old, next[HANDLERS] ?? {});
  syncChildren(old, next);
  if (["INPUT", "SELECT", "TEXTAREA"].includes(old.nodeName) && document.activeElement !== old && old.value !== next.value) {
    old.value = next.value;
  }
}

function syncChildren(old, next) {
  const keyed = new Map();
  for (const child of old.childNodes) if (child[KEY] !== undefined) keyed.set(child[KEY], child);
  let place = old.firstChild;
  for (const wanted of [...next.childNodes]) {
    let match = null;
    if (wanted[KEY] !== undefined) {
      const found = keyed.get(wanted[KEY]);
      if (found && isSame(found, wanted)) match = found;
    } else if (place && isSame(place, wanted)) {
      match = place;
    }
    if (match === null) {
      old.insertBefore(wanted, place);
      continue;
    }
    if (match === place) place = place.nextSibling;
    else old.insertBefore(match, place);
    sync(match, wanted);
  }
  while (place) {
    const rest = place.nextSibling;
    place.remove();
    place = rest;
  }
}
