/** The server's API. Every failure is an ApiError with one line to show. */

import { events } from "./sse.js";

/**
 * @typedef {{id: string, context: number, sampling: Record<string, number | null>}} ModelCard
 * @typedef {{prompt_tokens: number, new_tokens: number, tokens_per_s: number, queue_s: number, vision_s: number,
 *   prefill_s: number, decode_s: number}} Timings
 * @typedef {{model: string, context: number, device: {device: string, reason: string},
 *   memory: {rss_bytes: number, peak_rss_bytes: number},
 *   queue: {running: number, waiting: number, limit: number}}} Health
 * @typedef {{phase: string, place: number} | {text: string} | {finish: string, timings: Timings | null}} AnswerEvent
 * @typedef {import("./key.js").Key} Key
 */

const ROOT = new URL("../../", import.meta.url);
const UNREACHABLE = "The server doesn’t answer. Is “omnilmm-lite serve” still running?";
const BROKEN_OFF = "The answer broke off: the server went away.";

export class ApiError extends Error {
  /** @param {string} message @param {number} [status] 0 where there was no response at all */
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

export class Api {
  #key;
  /** @type {string | null} */
  #model = null;

  /** @param {Key} key */
  constructor(key) {
    this.#key = key;
  }

  forgetKey() {
    this.#key.forget();
  }

  /** Its name, once it is known. @returns {string} */
  get modelName() {
    return this.#model ?? "";
  }

  /** The model that is served. @returns {Promise<ModelCard>} */
  async model() {
    const response = await this.request("v1/models", {}, true);
    const card = (await response.json()).data[0];
    this.#model = card.id;
    return card;
  }

  /** Never asks for a key: it is polled. @returns {Promise<Health>} */
  async health() {
    return (await this.request("health", {}, false)).json();
  }

  /**
   * What the server sees in a picture that browsers don't show.
   * @param {string} url the picture as a data: address
   * @returns {Promise<{width: number, height: number, image: Blob} | string>} a sentence where it can't read it either,
   *   and an empty one where it doesn't say
   */
  async preview(url) {
    const headers = { "Content-Type": "application/json" };
    try {
      const init = { method: "POST", headers, body: JSON.stringify({ image: url }) };
      const { width, height, image } = await (await this.request("v1/preview", init, true)).json();
      const bytes = Uint8Array.from(atob(image), (character) => character.charCodeAt(0));
      return { width, height, image: new Blob([bytes], { type: "image/jpeg" }) };
    } catch (error) {
      return error instanceof ApiError && error.status === 400 ? error.message : "";
    }
  }

  /**
   * One answer as it comes. Aborting `signal` ends it on the server, too.
   * @param {object} body @param {AbortSignal} signal
   * @returns {AsyncGenerator<AnswerEvent, void, void>}
   */
  async *answer(body, signal) {
    const model = this.#model ?? (await this.model()).id;
    const init = {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ model, ...body, stream: true }),
      signal,
    };
    const response = await this.request("v1/chat/completions", init, true);
    if (!response.body) throw new ApiError(BROKEN_OFF);
    try {
      for await (const event of events(response.body)) {
        if ("comment" in event) yield phase(event.comment);
        else if (event.data === "[DONE]") return;
        else yield* chunk(JSON.parse(event.data));
      }
    } catch (error) {
      if (signal.aborted || error instanceof ApiError) throw error;
      throw new ApiError(BROKEN_OFF);
    }
    throw new ApiError(BROKEN_OFF); // the end is said with [DONE]
  }

  /**
   * A response that is a success; the key goes with the request.
   * @param {string} path @param {RequestInit} init
   * @param {boolean} mayAsk whether the user may be asked for a key
   * @returns {Promise<Response>}
   */
  async request(path, init, mayAsk) {
    for (;;) {
      const key = this.#key.value;
      const headers = new Headers(init.headers);
      if (key) headers.set("Authorization", `Bearer ${key}`);
      let response;
      try {
        response = await fetch(new URL(path, ROOT), { ...init, headers, cache: "no-store" });
      } catch (error) {
        throw init.signal?.aborted ? error : new ApiError(UNREACHABLE);
      }
      if (response.ok) return response;
      if (response.status !== 401) throw await refusal(response);
      if (!mayAsk || !(await this.#key.ask(key))) throw new ApiError("The server wants a key.", 401);
      init.signal?.throwIfAborted();
    }
  }
}

/** @param {string} comment such as "queued 2" @returns {AnswerEvent} */
function phase(comment) {
  const [name, place] = comment.split(" ");
  return { phase: name, place: Number(place ?? 0) };
}

/** @param {any} data @returns {Generator<AnswerEvent, void, void>} */
function* chunk(data) {
  if (data.error) throw new ApiError(data.error.message, 500);
  const choice = data.choices?.[0];
  if (choice?.delta?.content) yield { text: choice.delta.content };
  if (choice?.finish_reason) yield { finish: choice.finish_reason, timings: data.timings ?? null };
}

/** @param {Response} response @returns {Promise<ApiError>} */
async function refusal(response) {
  if (response.status === 429) {
    const wait = Number(response.headers.get("Retry-After"));
    const when = wait > 0 ? `Try again in ${wait} s.` : "Try again in a while.";
    return new ApiError(`Too many are waiting already. ${when}`, 429);
  }
  const body = await response.json().catch(() => null);
  return new ApiError(sentence(body?.error?.message ?? `The server answered ${response.status}.`), response.status);
}

/** @param {string} message @returns {string} */
function sentence(message) {
  return message.charAt(0).toUpperCase() + message.slice(1);
}
