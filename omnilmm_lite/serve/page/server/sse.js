/** Server-sent events, as https://html.spec.whatwg.org/#server-sent-events has them, of which the server uses data and comments. */

/** @typedef {{comment: string} | {data: string}} ServerEvent */

/**
 * The events of a response, in order. A comment is given at once; data when its event ends.
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<ServerEvent, void, void>}
 */
export async function* events(body) {
  /** @type {string[]} */
  let data = [];
  for await (const line of lines(body)) {
    if (line === "") {
      if (data.length) yield { data: data.join("\n") };
      data = [];
    } else if (line.startsWith(":")) {
      yield { comment: line.slice(1).trim() };
    } else if (line.startsWith("data:")) {
      data.push(line.slice(5).replace(/^ /, ""));
    }
  }
}

/**
 * Whole lines of UTF-8, however the bytes are cut. What follows the last line's end is no event and is left out.
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<string, void, void>}
 */
async function* lines(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      const whole = rest.split("\n");
      rest = whole.pop() ?? "";
      for (const line of whole) yield line.replace(/\r$/, "");
    }
  } finally {
    reader.cancel().catch(() => {}); // whoever stops listening frees the server
  }
}
