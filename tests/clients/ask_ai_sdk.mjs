// The Vercel AI SDK, by both of its providers: `node ask_ai_sdk.mjs openai-compatible`, or `openai`, which asks
// /v1/responses by default.

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, jsonSchema, streamText, tool } from "ai";

import {
  ANSWER, LONG_QUESTION, PICTURE_ANSWER, PICTURE_QUESTION, QUESTION, SCHEMA, WRONG,
  cancels, check, checkThing, fails, say, setting, version,
} from "./cases.mjs";

const kind = process.argv[2];

function provider(apiKey) {
  const options = { baseURL: setting.api, apiKey };
  if (kind === "openai") return createOpenAI(options);
  return createOpenAICompatible({ ...options, name: "here", supportsStructuredOutputs: true, includeUsage: true });
}

const common = { model: provider(setting.key)(setting.model), temperature: 0, maxRetries: 0 };
const look = tool({ description: "Looks a thing up.", inputSchema: jsonSchema(SCHEMA) });

await say(`Vercel AI SDK, @ai-sdk/${kind}`, `${version("ai")}, ${version(`@ai-sdk/${kind}`)}`, {
  text: async () => check((await generateText({ ...common, prompt: QUESTION })).text, ANSWER),
  streaming: async () => {
    let text = "";
    for await (const piece of streamText({ ...common, prompt: QUESTION }).textStream) text += piece;
    check(text, ANSWER);
  },
  picture: async () => {
    const content = [{ type: "text", text: PICTURE_QUESTION }, { type: "image", image: setting.picture }];
    check((await generateText({ ...common, messages: [{ role: "user", content }] })).text, PICTURE_ANSWER);
  },
  "JSON schema": async () => {
    checkThing((await generateObject({ ...common, schema: jsonSchema(SCHEMA), prompt: PICTURE_QUESTION })).object);
  },
  tools: async () => {
    const answer = await generateText({
      ...common, tools: { look_up: look }, toolChoice: "required", prompt: PICTURE_QUESTION,
    });
    checkThing(answer.toolCalls[0].input);
  },
  "bad key": () => fails(401, () => generateText({
    ...common, model: provider("wrong")(setting.model), prompt: QUESTION,
  })),
  "wrong model": () => fails(404, () => generateText({
    ...common, model: provider(setting.key)(WRONG), prompt: QUESTION,
  })),
  cancel: () => cancels(async () => {
    const leave = new AbortController();
    const options = { abortSignal: leave.signal, temperature: 2, maxOutputTokens: 2000, prompt: LONG_QUESTION };
    for await (const piece of streamText({ ...common, ...options }).textStream) if (piece) leave.abort();
  }),
});
