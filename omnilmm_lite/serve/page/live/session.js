/** A live session on the server: its events, and what is sent to it. It is begun anew where it was lost. */

import { ApiError } from "../server/api.js";
import { events } from "../server/sse.js";

/**
 * @typedef {import("../server/api.js").Api} Api
 * @typedef {{event: string} & {[name: string]: any}} LiveEvent
 * @typedef {{model: string, ears: string, voice: string, sessions: {running: number, limit: number}}} Facts
 */

const SILENT_MS = 15_000; // without a status, which comes each second
const AGAIN_MS = [500, 1000, 2000, 4000]; // before each try
const JSON_TYPE = { "Content-Type": "application/json" };

export class Session {
  #api;
  #told;
  #lost;
  #id = "";
  #left = new AbortController();

  /**
   * @param {Api} api @param {(event: LiveEvent) => void} told
   * @param {(line: string) => void} lost with a sentence, each time that there is no session any more
   */
  constructor(api, told, lost) {
    this.#api = api;
    this.#told = told;
    this.#lost = lost;
  }

  /** What the server can do. @param {Api} api @returns {Promise<Facts>} */
  static async facts(api) {
    return (await api.request("v1/live", {}, true)).json();
  }

  get isOpen() {
    return this.#id !== "";
  }

  /** Runs until `end`. ApiError where the first session is refused. @param {() => object} wishes */
  async run(wishes) {
    this.#left = new AbortController();
    for (let tries = 0, before = false; !this.#left.signal.aborted; tries += 1) {
      try {
        await this.#once(wishes(), () => {
          tries = 0;
          before = true;
        });
      } catch (error) {
        if (this.#left.signal.aborted) return;
        if (!(error instanceof ApiError) || !before) throw error;
        this.#lost(error.message);
      } finally {
        this.#id = "";
      }
      await pause(AGAIN_MS[Math.min(tries, AGAIN_MS.length - 1)], this.#left.signal);
    }
  }

  /** The server hears of it at once. */
  end() {
    this.#left.abort();
  }

  /** @param {Blob} jpeg */
  async frame(jpeg) {
    await this.#post("frame", { "Content-Type": "image/jpeg" }, jpeg);
  }

  /** @param {Int16Array<ArrayBuffer>} pcm @param {number} rate @param {boolean} ends whether silence follows */
  async sound(pcm, rate, ends) {
    await this.#post(`sound?rate=${rate}${ends ? "&ends=1" : ""}`, { "Content-Type": "audio/l16" }, pcm);
  }

  /** @param {string} text @param {boolean} spoken @returns {Promise<string>} why it wasn't taken, if it wasn't */
  async ask(text, spoken = false) {
    return this.#post("question", JSON_TYPE, JSON.stringify({ text, spoken }));
  }

  async interrupt() {
    await this.#post("interrupt", {}, null);
  }

  /** @param {object} wishes @param {() => void} began */
  async #once(wishes, began) {
    const broken = new AbortController();
    const signal = AbortSignal.any([this.#left.signal, broken.signal]);
    const init = { method: "POST", headers: JSON_TYPE, body: JSON.stringify(wishes), signal };
    const response = await this.#api.request("v1/live", init, true);
    if (!response.body) throw new ApiError("The connection to the server is lost.");
    let timer = 0;
    try {
      for await (const message of events(response.body)) {
        if (!("data" in message)) continue;
        const event = JSON.parse(message.data);
        if (event.event === "opened") this.#id = event.session;
        if (event.event === "session_began") began();
        if (event.event === "closing") break;
        clearTimeout(timer);
        if (event.event !== "opened") timer = setTimeout(() => broken.abort(), SILENT_MS); // who waits for the model waits
        this.#told(event);
      }
    } catch (error) {
      if (this.#left.signal.aborted || error instanceof ApiError) throw error;
    } finally {
      clearTimeout(timer);
      broken.abort();
    }
    if (!this.#left.signal.aborted) this.#lost("The connection to the server is lost. Trying again.");
  }

  /** @param {string} what @param {Record<string, string>} headers @param {BodyInit | null} body @returns {Promise<string>} */
  async #post(what, headers, body) {
    if (!this.#id) return "The session has not begun yet: ask again in a moment.";
    try {
      await this.#api.request(`v1/live/${this.#id}/${what}`, { method: "POST", headers, body }, false);
      return "";
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return error.message; // the event stream says it, too, where the server is gone
    }
  }
}

/** @param {number} ms @param {AbortSignal} signal ends it earlier */
function pause(ms, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
    signal.addEventListener("abort", resolve, { once: true });
  });
}
