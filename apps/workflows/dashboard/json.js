// JSON as it is written. JavaScript's own reader makes 9007199254740992 of 9007199254740993, and 1 of 1.0: what was stored
// or typed so would be changed by showing it and sending it back.

const MARK = `written-${Math.random()}-`; // nobody's text can hold it
const TOKENS = /"(?:[^"\\]+|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** What is sent and shown as the text it is, which is JSON. */
export class Written {
  constructor(text) {
    this.text = text;
  }

  toString() {
    return this.text;
  }

  toJSON() {
    return JSON.parse(this.text);
  }
}

/** Return the value of `text`; numbers that are no numbers of JavaScript's are Written. Throws SyntaxError where it is no JSON. */
export function parse(text) {
  const plain = JSON.parse(text); // what is wrong is told of the text itself
  const marked = text.replace(TOKENS, (token) => (token.startsWith('"') || String(Number(token)) === token ? token : `"${MARK}${token}"`));
  if (marked === text) return plain;
  return JSON.parse(marked, (_, value) => (typeof value === "string" && value.startsWith(MARK) ? new Written(value.slice(MARK.length)) : value));
}

/** Return the text of `value`, indented by `indent` spaces. */
export function write(value, indent = 0) {
  const texts = [];
  const marked = JSON.stringify(value, function mark(key, each) {
    return this[key] instanceof Written ? `${MARK}${texts.push(this[key].text) - 1}` : each;
  }, indent);
  return marked.replace(new RegExp(`"${MARK.replaceAll(".", "\\.")}(\\d+)"`, "g"), (_, place) => texts[place]);
}
