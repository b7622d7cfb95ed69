/** A question and its answer as they stand in the chat. Both are text, never markup. */

import { find, fromTemplate, say } from "./dom.js";
import { duration, speed } from "./format.js";

/** @typedef {import("./api.js").Timings} Timings */

const COPIED_MS = 1500;
const TICK_MS = 250;

/** @type {Record<string, (place: number) => string>} the server's phases in words */
const WAITING = {
  queued: (place) => `Waiting in the queue, place ${place}`,
  encode: () => "Looking at the picture",
  prefill: () => "Reading the prompt",
};

export class TurnView {
  element = fromTemplate("turn-template");
  #phase = find(this.element, ".phase", HTMLElement);
  #phaseText = find(this.element, ".phase-text", HTMLElement);
  #seconds = find(this.element, ".phase-seconds", HTMLElement);
  #answer = find(this.element, ".answer-text", HTMLElement);
  #error = find(this.element, ".answer-error", HTMLElement);
  #foot = find(this.element, ".answer-foot", HTMLElement);
  #facts = find(this.element, ".answer-facts", HTMLElement);
  #copy = find(this.element, ".copy", HTMLButtonElement);
  #timer = 0;

  /** @param {string} question @param {() => void} again asks the same once more */
  constructor(question, again) {
    find(this.element, ".question-text", HTMLElement).textContent = question;
    find(this.element, ".again", HTMLButtonElement).addEventListener("click", again);
    this.#copy.addEventListener("click", () => this.#copyAnswer());
  }

  /** Waiting, with nothing said yet. */
  begin() {
    this.#answer.textContent = "";
    this.#foot.hidden = true;
    say(this.#error, "");
    this.element.dataset.state = "waiting";
    this.waitFor({ phase: "sent", place: 0 });
  }

  /**
   * Shows what is being waited for, and since when.
   * @param {{phase: string, place: number}} waiting
   * @returns {string} in words
   */
  waitFor({ phase, place }) {
    const text = WAITING[phase]?.(place) ?? "Waiting for the server";
    this.#phase.hidden = false;
    if (text === this.#phaseText.textContent && this.#timer) return text;
    this.#phaseText.textContent = text;
    clearInterval(this.#timer);
    const since = performance.now();
    const show = () => {
      const seconds = Math.floor((performance.now() - since) / 1000);
      this.#seconds.textContent = seconds ? `${seconds} s` : "";
    };
    this.#timer = setInterval(show, TICK_MS);
    show();
    return text;
  }

  /** @param {string} text the next piece of the answer */
  append(text) {
    this.#endWait();
    this.element.dataset.state = "answering";
    this.#answer.append(text);
    this.#answer.normalize();
  }

  /** @param {string} finish @param {Timings | null} timings @param {boolean} hasPicture */
  end(finish, timings, hasPicture) {
    const facts = [];
    if (finish === "length") facts.push("cut off: it reached the limit of tokens");
    if (timings && timings.tokens_per_s > 0) facts.push(speed(timings.tokens_per_s));
    if (timings && hasPicture) {
      facts.push(timings.vision_s > 0 ? `picture ${duration(timings.vision_s)}` : "picture remembered");
    }
    if (timings && timings.prefill_s > 0) facts.push(`prompt ${duration(timings.prefill_s)}`);
    this.#done(facts);
  }

  /** What was said until now stays. */
  stop() {
    this.#done(["stopped"]);
  }

  /** @param {string} line */
  fail(line) {
    this.#done([]);
    say(this.#error, line);
  }

  #endWait() {
    clearInterval(this.#timer);
    this.#timer = 0;
    this.#phase.hidden = true;
  }

  /** @param {string[]} facts */
  #done(facts) {
    this.#endWait();
    this.element.dataset.state = "done";
    this.#facts.textContent = facts.join(" · ");
    this.#copy.hidden = !this.#answer.textContent || !navigator.clipboard;
    this.#foot.hidden = false;
  }

  async #copyAnswer() {
    const done = await navigator.clipboard.writeText(this.#answer.textContent ?? "").then(() => true, () => false);
    const label = find(this.#copy, "span", HTMLElement);
    label.textContent = done ? "Copied" : "Not allowed";
    setTimeout(() => (label.textContent = "Copy"), COPIED_MS);
  }
}
