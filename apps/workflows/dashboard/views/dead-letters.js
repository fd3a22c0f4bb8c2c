// Records that no service could take: why, what they held, and how they are sent again once that is mended.

import { link, post, query } from "../api.js";
import { field, fill } from "../dialogs.js";
import { h, show } from "../dom.js";
import { Written, parse, write } from "../json.js";
import { paged } from "../paged.js";
import { may } from "../session.js";
import { shortly, time } from "../time.js";
import { block, button, empty, toast } from "../ui.js";
import { systemHead } from "./system.js";

const PAGE = 20;

function pretty(text) {
  try {
    return write(parse(text), 2);
  } catch {
    return text;
  }
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

export function deadLetters(root) {
  document.title = "Dead letters – Workflows";
  const list = paged((cursor) => `/v1/dead-letters${query({ limit: PAGE, cursor })}`, draw);
  const resent = new Set();

  async function resend(letter) {
    const isText = letter.value !== null && letter.valueBase64 === undefined;
    const written = isText ? pretty(letter.value) : "";
    let area;
    const value = field("Value", (attributes) => (area = h("textarea", { ...attributes, class: "mono", rows: 12, spellcheck: "false", value: written, disabled: !isText })),
      isText ? "Mend what was wrong with it, or send it as it came." : "It holds bytes that are no text: it can be sent as it came.");
    area.setSelectionRange(0, 0);
    const sent = await fill("Send the record again", [
      h("p", null, "To ", h("code", null, letter.topic), letter.key === null ? null : [" under the key ", h("code", null, letter.key)], "."),
      value,
    ], "Send", async (_, say) => {
      const changed = area.value !== written;
      if (changed && !isJson(area.value)) {
        say("This is not JSON, and no service could take it. Mend it first.");
        return null;
      }
      try {
        return await post(link`/v1/dead-letters/${letter.id}/resend`, changed ? { value: new Written(area.value) } : {});
      } catch (error) {
        say(error.message);
        return null;
      }
    }, "wide");
    if (!sent) return;
    resent.add(letter.id);
    toast(`Sent again to ${sent.topic}.`);
    draw();
  }

  function row(letter) {
    const value = letter.value ?? letter.valueBase64 ?? "";
    const key = letter.key ?? letter.keyBase64 ?? null;
    return h("li", { class: "row letter", key: letter.id },
      h("div", { class: "letter-head" },
        h("div", { class: "cell-name" }, h("strong", { class: "letter-reason" }, letter.reason),
          h("span", { class: "sub" }, h("span", { class: "mono" }, letter.topic), ` [${letter.partition}] @ ${letter.offset}`, key === null ? ", no key" : [letter.keyBase64 ? ", key in base64 " : ", key ", h("span", { class: "mono" }, key)])),
        h("div", { class: "quiet right" }, time(letter.at), h("span", { class: "sub" }, shortly(letter.at))),
        may("operator") ? button(resent.has(letter.id) ? "Sent again" : "Send again…", () => resend(letter), { kind: "small", title: "Send it to its topic once more, as it came or mended" }) : null),
      value ? h("details", null, h("summary", null, letter.valueBase64 ? "Value in base64" : "Value"), block(pretty(value), `Value of ${letter.id}`)) : h("p", { class: "quiet small-text" }, "Without a value"));
  }

  function draw() {
    show(root, systemHead("#/system/dead-letters", h("div", { class: "actions" }, button("Read again", () => list.read(), { kind: "small" }))),
      h("p", { class: "lead quiet", key: "lead" }, "Records that no service could take. They stay here until Kafka's retention is over; sending one again leaves it in the list."),
      h("div", { key: "list" }, list.show(
        (items) => h("ul", { class: "rows card", "aria-label": "Dead letters" }, items.map(row)),
        () => empty("No dead letters", "Every record was understood. What is not would be kept here, with the reason, and stop nothing."),
        { rows: 4 },
      )));
  }

  draw();
  list.read();
  return list.stop;
}
