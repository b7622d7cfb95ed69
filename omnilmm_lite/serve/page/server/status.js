/** The machine behind the page: device, memory, speed, queue, and whether it answers at all. */

import { ApiError } from "./api.js";
import { find } from "../dom.js";
import { size, speed } from "../format.js";

/**
 * @typedef {import("./api.js").Api} Api
 * @typedef {import("./api.js").Health} Health
 * @typedef {import("./api.js").Timings} Timings
 */

const HEALTHY_MS = 10_000;
const GONE_MS = 2_000;

export class Status {
  #api;
  #pill = find(document, "#status", HTMLElement);
  #speed = find(document, "#status-speed", HTMLElement);
  #returned;
  #timer = 0;

  /** @param {Api} api @param {() => void} returned called when the server answers after it didn't */
  constructor(api, returned) {
    this.#api = api;
    this.#returned = returned;
    document.addEventListener("visibilitychange", () => this.refresh());
    this.refresh();
  }

  /** Asks the server now, and again later as long as somebody looks. */
  async refresh() {
    clearTimeout(this.#timer);
    if (document.hidden) return;
    const answers = await this.#look();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.refresh(), answers ? HEALTHY_MS : GONE_MS);
  }

  /** @returns {Promise<boolean>} whether the server answers */
  async #look() {
    const before = this.#pill.dataset.state;
    try {
      this.#show(await this.#api.health());
    } catch (error) {
      const locked = error instanceof ApiError && error.status === 401;
      this.#pill.dataset.state = locked ? "locked" : "gone";
      this.#text("#status-text", locked ? "Key wanted" : "No answer");
      return false;
    }
    this.#pill.dataset.state = "ready";
    if (before === "gone" || before === "locked") this.#returned();
    return true;
  }

  /** @param {Timings} timings of the answer that has just ended */
  answered(timings) {
    if (timings.tokens_per_s > 0) this.#speed.textContent = speed(timings.tokens_per_s);
    const used = timings.prompt_tokens + timings.new_tokens;
    this.#text("#machine-used", `${used} tokens`);
  }

  /** @param {Health} health */
  #show({ model, device, memory, queue, context }) {
    this.#text("#model", model);
    this.#text("#status-text", device.device.toUpperCase());
    this.#text("#status-memory", size(memory.rss_bytes));
    this.#text("#machine-model", model);
    this.#text("#machine-device", [device.device.toUpperCase(), device.reason].filter(Boolean).join(": "));
    this.#text("#machine-memory", `${size(memory.rss_bytes)}, at most ${size(memory.peak_rss_bytes)} so far`);
    this.#text("#machine-context", `${context} tokens`);
    const waiting = `${queue.waiting} waiting, room for ${queue.limit}`;
    this.#text("#machine-queue", queue.running ? `1 running, ${waiting}` : waiting);
  }

  /** @param {string} selector @param {string} text */
  #text(selector, text) {
    find(document, selector, HTMLElement).textContent = text;
  }
}
