/** An answer as it stands in the chat: text, never markup; alone, or one of two columns. */

import { find, fromTemplate, say } from "../dom.js";
import { duration, speed } from "../format.js";

/**
 * @typedef {import("../server/api.js").Timings} Timings
 * @typedef {import("./conversation.js").Answer} Answer
 * @typedef {{again: () => void, choose: () => void}} Wishes
 */

const COPIED_MS = 1500;
const TICK_MS = 250;

/** @type {Record<string, (place: number) => string>} the server's phases in words */
const WAITING = {
  queued: (place) => `Waiting in the queue, place ${place}`,
  load: () => "Loading the model",
  encode: () => "Looking at the picture",
  prefill: () => "Reading the prompt",
  other: () => "Comes after the other answer",
};

/** How an answer ended and how fast it was. @param {string} finish @param {Timings | null} timings @param {boolean} hasPicture */
export function factsOf(finish, timings, hasPicture) {
  const facts = [];
  if (finish === "length") facts.push("cut off: it reached the limit of tokens");
  if (timings && timings.tokens_per_s > 0) facts.push(speed(timings.tokens_per_s));
  if (timings && hasPicture) {
    facts.push(timings.vision_s > 0 ? `picture ${duration(timings.vision_s)}` : "picture remembered");
  }
  if (timings && timings.prefill_s > 0) facts.push(`prompt ${duration(timings.prefill_s)}`);
  return facts;
}

export class AnswerView {
  element = fromTemplate("answer-template");
  #phase = find(this.element, ".phase", HTMLElement);
  #phaseText = find(this.element, ".phase-text", HTMLElement);
  #seconds = find(this.element, ".phase-seconds", HTMLElement);
  #text = find(this.element, ".answer-text", HTMLElement);
  #error = find(this.element, ".answer-error", HTMLElement);
  #foot = find(this.element, ".answer-foot", HTMLElement);
  #facts = find(this.element, ".answer-facts", HTMLElement);
  #copy = find(this.element, ".copy", HTMLButtonElement);
  #choose = find(this.element, ".choose", HTMLButtonElement);
  #timer = 0;

  /** @param {string} heading the settings, where there are two to compare @param {Wishes} wishes */
  constructor(heading, { again, choose }) {
    say(find(this.element, ".answer-settings", HTMLElement), heading);
    find(this.element, ".again", HTMLButtonElement).addEventListener("click", again);
    this.#copy.addEventListener("click", () => this.#copyText());
    this.#choose.hidden = heading === "";
    this.#choose.addEventListener("click", choose);
  }

  /** Waiting, with nothing said yet. */
  begin() {
    this.#text.textContent = "";
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

  /** @param {string} text the next piece */
  append(text) {
    this.#endWait();
    this.element.dataset.state = "answering";
    this.#text.append(text);
    this.#text.normalize();
  }

  /** As it ended. @param {Answer} answer @param {boolean} isChosen */
  show({ text, facts, failure, isWhole }, isChosen) {
    this.#endWait();
    this.element.dataset.state = "done";
    if (this.#text.textContent !== text) this.#text.textContent = text;
    this.#facts.textContent = (isWhole ? facts : ["not finished"]).join(" · ");
    say(this.#error, failure);
    this.#copy.hidden = !text || !navigator.clipboard;
    this.#foot.hidden = false;
    this.chosen = isChosen;
  }

  /** @param {boolean} isChosen whether the conversation goes on from it */
  set chosen(isChosen) {
    this.#choose.setAttribute("aria-pressed", String(isChosen));
    this.element.dataset.chosen = String(isChosen);
  }

  #endWait() {
    clearInterval(this.#timer);
    this.#timer = 0;
    this.#phase.hidden = true;
  }

  async #copyText() {
    const done = await navigator.clipboard.writeText(this.#text.textContent ?? "").then(() => true, () => false);
    const label = find(this.#copy, "span", HTMLElement);
    label.textContent = done ? "Copied" : "Not allowed";
    setTimeout(() => (label.textContent = "Copy"), COPIED_MS);
  }
}
