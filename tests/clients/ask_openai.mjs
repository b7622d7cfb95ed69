// openai, the official client in JavaScript.

import OpenAI from "openai";

import {
  ANSWER, LONG_QUESTION, PICTURE_ANSWER, PICTURE_QUESTION, QUESTION, SCHEMA, WRONG,
  cancels, check, checkThing, fails, say, setting, version,
} from "./cases.mjs";

const client = new OpenAI({ baseURL: setting.api, apiKey: setting.key, maxRetries: 0 });
const url = `data:image/png;base64,${setting.picture.toString("base64")}`;
const tool = { type: "function", function: { name: "look_up", description: "Looks a thing up.", parameters: SCHEMA } };

function ask(content, more = {}) {
  return client.chat.completions.create({
    model: setting.model, temperature: 0, messages: [{ role: "user", content }], ...more,
  });
}

await say("openai (npm)", version("openai"), {
  text: async () => {
    check((await ask(QUESTION)).choices[0].message.content, ANSWER);
    const answer = await client.responses.create({ model: setting.model, input: QUESTION, temperature: 0 });
    check(answer.output_text, ANSWER);
  },
  streaming: async () => {
    let text = "";
    const stream = await ask(QUESTION, { stream: true, stream_options: { include_usage: true } });
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
    check(text, ANSWER);
  },
  picture: async () => {
    const content = [{ type: "text", text: PICTURE_QUESTION }, { type: "image_url", image_url: { url } }];
    check((await ask(content)).choices[0].message.content, PICTURE_ANSWER);
  },
  "JSON schema": async () => {
    const json_schema = { name: "thing", schema: SCHEMA, strict: true };
    const answer = await client.chat.completions.parse({
      model: setting.model, temperature: 0, messages: [{ role: "user", content: PICTURE_QUESTION }],
      response_format: { type: "json_schema", json_schema },
    });
    checkThing(JSON.parse(answer.choices[0].message.content));
  },
  tools: async () => {
    const answer = await ask(PICTURE_QUESTION, { tools: [tool], tool_choice: "required" });
    checkThing(JSON.parse(answer.choices[0].message.tool_calls[0].function.arguments));
  },
  "bad key": () => fails(401, () => new OpenAI({ baseURL: setting.api, apiKey: "wrong" }).models.list()),
  "wrong model": () => fails(404, () => ask(QUESTION, { model: WRONG })),
  cancel: () => cancels(async () => {
    const stream = await ask(LONG_QUESTION, { stream: true, temperature: 2, max_tokens: 2000 });
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
  }),
});
