// Questions that are asked over the page. The browser keeps the focus in them and gives it back when they close. They close
// when the page under them is left, so that nobody answers one of another page.

import { h } from "./dom.js";
import { button } from "./ui.js";

let count = 0;
const open = new Set(); // what closes each question that stands open

/**
 * Ask with what `content(close)` draws; resolves to what `close(answer)` was called with, and to null where it was dismissed, or
 * the page was left.
 * `title` names the dialog; `kind` is wide for forms.
 */
export function ask(title, content, kind = "") {
  return new Promise((resolve) => {
    const name = `dialog-${(count += 1)}`;
    const close = (answer) => {
      open.delete(close);
      dialog.close();
      dialog.remove();
      resolve(answer);
    };
    const dialog = h("dialog", { class: kind, "aria-labelledby": name, on: { cancel: (event) => { event.preventDefault(); close(null); } } },
      h("h2", { id: name }, title), content(close));
    document.body.append(dialog);
    dialog.showModal();
    // The browser would begin at the first thing that can be pressed.
    dialog.querySelector("input:enabled, select:enabled, textarea:enabled")?.focus();
    open.add(close);
  });
}

/** Close what is asked, unanswered. To be called before another page is drawn: what is behind a dialog takes no focus. */
export function dismiss() {
  for (const close of open) close(null);
}

/** Ask before something that cannot be undone; resolves to whether it was confirmed. */
export async function confirmed(title, text, yes) {
  return (await ask(title, (close) => [
    h("p", null, text),
    h("div", { class: "actions" }, button("Keep it", () => close(false)), button(yes, () => close(true), { kind: "danger" })),
  ])) === true;
}

/**
 * Ask with a form; `submit(form, say)` carries it out and returns the answer to resolve to, or null where it stays open.
 * `say(text)` writes below the fields why it does; fields are marked by who draws them.
 */
export function fill(title, fields, yes, submit, kind = "") {
  return ask(title, (close) => {
    const flaw = h("p", { class: "why", role: "alert" });
    const sending = h("button", { type: "submit", class: "button primary" }, yes);
    const form = h("form", {
      novalidate: true,
      on: {
        submit: async (event) => {
          event.preventDefault();
          flaw.textContent = "";
          sending.disabled = true;
          const answer = await submit(form, (text) => { flaw.textContent = text; });
          sending.disabled = false;
          if (answer !== null) close(answer);
        },
      },
    }, fields, flaw, h("div", { class: "actions" }, button("Cancel", () => close(null)), sending));
    return form;
  }, kind);
}

let fieldCount = 0;

/** Say below a control what is wrong with it, and go there. */
export function mark(control, message) {
  const flaw = h("p", { class: "why", role: "alert" }, message);
  control.parentElement.querySelector(".why")?.remove();
  control.setAttribute("aria-invalid", "true");
  control.after(flaw);
  control.focus();
  control.addEventListener("input", () => {
    control.removeAttribute("aria-invalid");
    flaw.remove();
  }, { once: true });
}

/** A labelled control, with a hint below it; `control(attributes)` makes it. */
export function field(label, control, hint = null) {
  const name = `field-${(fieldCount += 1)}`;
  return h("div", { class: "field" }, h("label", { for: name }, label), control({ id: name, "aria-describedby": hint ? `${name}-hint` : null }),
    hint ? h("p", { class: "hint", id: `${name}-hint` }, hint) : null);
}
