// ollama, its official client in JavaScript.

import { Ollama } from "ollama";

import {
  ANSWER, LONG_QUESTION, PICTURE_ANSWER, PICTURE_QUESTION, QUESTION, SCHEMA, WRONG,
  cancels, check, checkThing, fails, say, setting, version,
} from "./cases.mjs";

const client = (key) => new Ollama({ host: setting.url, headers: { Authorization: `Bearer ${key}` } });
const here = client(setting.key);
const tool = { type: "function", function: { name: "look_up", description: "Looks a thing up.", parameters: SCHEMA } };

function ask(content, { images, ...more } = {}) {
  const messages = [{ role: "user", content, ...(images ? { images } : {}) }];
  return here.chat({ model: setting.model, messages, options: { temperature: 0 }, ...more });
}

await say("ollama (npm)", version("ollama"), {
  text: async () => {
    check((await ask(QUESTION)).message.content, ANSWER);
    const options = { temperature: 0 };
    check((await here.generate({ model: setting.model, prompt: QUESTION, options })).response, ANSWER);
    check((await here.list()).models.map((model) => model.name).join(), setting.model);
  },
  streaming: async () => {
    let text = "";
    for await (const part of await ask(QUESTION, { stream: true })) text += part.message.content;
    check(text, ANSWER);
  },
  picture: async () => {
    check((await ask(PICTURE_QUESTION, { images: [new Uint8Array(setting.picture)] })).message.content, PICTURE_ANSWER);
  },
  "JSON schema": async () => {
    checkThing(JSON.parse((await ask(PICTURE_QUESTION, { format: SCHEMA })).message.content));
  },
  tools: async () => {
    const { message } = await ask(PICTURE_QUESTION, { tools: [tool] });
    if (!message.content) checkThing(message.tool_calls[0].function.arguments);
  },
  "bad key": () => fails(401, () => client("wrong").list()),
  "wrong model": () => fails(404, () => ask(QUESTION, { model: WRONG })),
  cancel: () => cancels(async () => {
    const answer = await ask(LONG_QUESTION, { stream: true, options: { temperature: 2, num_predict: 2000 } });
    for await (const part of answer) {
      if (part.message.content) break;
    }
    answer.abort();
  }),
});
