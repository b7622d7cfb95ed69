/** One way of choosing answers: the model's defaults, and over them what the user has changed, which the browser keeps. */

import { kept } from "../store.js";

/** @typedef {{greedy?: boolean, system?: string} & {[name: string]: number | boolean | string | undefined}} Changes */

export const DRAWN = ["temperature", "top_p", "top_k", "min_p", "seed"]; // of no use where nothing is drawn
export const NUMBERS = [...DRAWN, "repetition_penalty", "max_tokens"];

export class Choice {
  #name;
  #start;
  /** @type {Changes} */
  #changes;
  /** @type {Record<string, number | null>} */
  #defaults = {};

  /** @param {string} name by which it is kept @param {() => Changes} start what is changed where nothing is kept */
  constructor(name, start = () => ({})) {
    this.#name = name;
    this.#start = start;
    this.#changes = this.#read();
  }

  /** @param {Record<string, number | null>} sampling the model's own */
  startFrom(sampling) {
    this.#defaults = sampling;
  }

  /** @returns {string} empty leaves the model's own */
  get system() {
    return String(this.#changes.system ?? "");
  }

  get isGreedy() {
    return Boolean(this.#changes.greedy ?? this.#defaults.temperature === 0);
  }

  get isChanged() {
    return Object.values(this.#changes).some((value) => value !== undefined);
  }

  /** In words. @returns {string} */
  get summary() {
    const parts = [this.isGreedy ? "Greedy" : "Sampling"];
    const temperature = this.value("temperature");
    if (!this.isGreedy && temperature !== null) parts.push(`temperature ${temperature}`);
    if (this.system) parts.push("own system text");
    return parts.join(", ");
  }

  /** @param {string} name @returns {number | null} null where it is left to the server */
  value(name) {
    const changed = this.#changes[name];
    return typeof changed === "number" ? changed : (this.#defaults[name] ?? null);
  }

  /** What a request says about sampling. @returns {Record<string, number>} */
  request() {
    /** @type {Record<string, number>} */
    const request = {};
    for (const name of NUMBERS) {
      const value = this.value(name);
      if (value !== null && !(this.isGreedy && DRAWN.includes(name))) request[name] = value;
    }
    if (this.isGreedy) request.temperature = 0;
    return request;
  }

  /** @param {string} name @param {number | boolean | string | undefined} value */
  change(name, value) {
    this.#changes[name] = value; // JSON leaves out what is undefined
    kept.write(this.#name, this.isChanged ? this.#changes : null);
  }

  reset() {
    this.#changes = {};
    kept.write(this.#name, null);
  }

  /** As the browser has it now, which may have forgotten it. */
  readAgain() {
    this.#changes = this.#read();
  }

  /** @returns {Changes} */
  #read() {
    const found = kept.read(this.#name);
    return found !== null && typeof found === "object" && !Array.isArray(found) ? found : this.#start();
  }
}
