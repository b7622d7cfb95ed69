// What every client is asked to do, and how a script says what came of it: cases.py in JavaScript.

import assert from "node:assert";
import { readFileSync } from "node:fs";

const env = process.env;
export const setting = {
  url: env.CLIENT_URL,
  api: `${env.CLIENT_URL}/v1`,
  key: env.CLIENT_KEY,
  model: env.CLIENT_MODEL,
  picture: readFileSync(env.CLIENT_PICTURE),
};

// Of the model `tiny`, greedy.
export const QUESTION = "What can you do?";
export const ANSWER = "I can name things";
export const PICTURE_QUESTION = "What is this?";
export const PICTURE_ANSWER = "cat";
export const LONG_QUESTION = "Describe it.";
export const WRONG = "no-such-model";
const CANCEL_MS = 30000;

export const SCHEMA = {
  type: "object",
  properties: { name: { type: "string", enum: ["dog", "cat"] } },
  required: ["name"],
  additionalProperties: false,
};

/** @param {string} text @param {string} part */
export function check(text, part) {
  assert.ok(text?.includes(part), `${part} is not in ${JSON.stringify(text)}`);
}

/** @param {{name: string}} thing */
export function checkThing(thing) {
  assert.ok(["dog", "cat"].includes(thing?.name), JSON.stringify(thing));
}

/** The call fails with this status. @param {number} status @param {() => Promise<unknown>} call */
export async function fails(status, call) {
  try {
    await call();
  } catch (error) {
    const found = error.status ?? error.statusCode ?? error.status_code ?? error.lastError?.statusCode;
    assert.equal(found, status, `${error.name}: ${error.message}`);
    return;
  }
  assert.fail("no error was raised");
}

/** How many answers the server has broken off so far. */
async function cancelled() {
  const answer = await fetch(`${setting.url}/metrics`, { headers: { Authorization: `Bearer ${setting.key}` } });
  const found = /^omnilmm_answers_total\{reason="cancelled"\} (\d+)/m.exec(await answer.text());
  return Number(found?.[1] ?? 0);
}

/** `leave` ends an answer by going away, and the server notices. @param {() => Promise<void>} leave */
export async function cancels(leave) {
  const before = await cancelled();
  await leave();
  const until = Date.now() + CANCEL_MS;
  while ((await cancelled()) === before) {
    assert.ok(Date.now() < until, "the answer went on without its client");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The version of a package among those that were installed. @param {string} name */
export function version(name) {
  return JSON.parse(readFileSync(`${env.CLIENT_PACKAGES}/${name}/package.json`, "utf8")).version;
}

/** Runs the cases; a line of JSON each. @param {string} client @param {string} found @param {object} cases */
export async function say(client, found, cases) {
  for (const [name, run] of Object.entries(cases)) {
    let why = null;
    try {
      await run();
    } catch (error) {
      console.error(error);
      why = `${error.name}: ${error.message}`.slice(0, 300);
    }
    console.log(JSON.stringify({ client, version: found, case: name, why }));
  }
}
