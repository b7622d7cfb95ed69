/** The chat: one conversation at a time, one answer at a time. */

import { ApiError } from "./api.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { find, fromTemplate } from "./dom.js";
import { TurnView } from "./turn.js";

/**
 * @typedef {import("./api.js").Api} Api
 * @typedef {import("./api.js").AnswerEvent} AnswerEvent
 * @typedef {import("./conversation.js").Turn} Turn
 * @typedef {import("./picture.js").Picture} Picture
 * @typedef {import("./settings.js").Settings} Settings
 * @typedef {import("./status.js").Status} Status
 */

const AT_END_PX = 60; // so near to its end, the log follows the answer

export class Chat {
  #api;
  #settings;
  #status;
  #log = find(document, "#log", HTMLElement);
  #said = find(document, "#said", HTMLElement); // what a screen reader says: an answer once, not each piece of it
  #clear = find(document, "#clear", HTMLButtonElement);
  #composer = new Composer((question) => this.ask(question), () => this.stop());
  #conversation = new Conversation(null);
  /** @type {Map<Turn, TurnView>} */
  #views = new Map();
  /** @type {AbortController | null} */
  #running = null;

  /** @param {Api} api @param {Settings} settings @param {Status} status */
  constructor(api, settings, status) {
    this.#api = api;
    this.#settings = settings;
    this.#status = status;
    this.#clear.addEventListener("click", () => {
      this.#restart(this.#conversation.picture);
      this.#composer.focus();
    });
    this.#restart(null);
    this.#composer.focus();
  }

  /** A picture belongs to one conversation. @param {Picture | null} picture */
  setPicture(picture) {
    const began = this.#conversation.turns.length > 0;
    this.#restart(picture);
    if (began) this.#note(picture ? "New picture, new conversation" : "No picture, new conversation");
    if (picture) this.#composer.focus();
  }

  /** @param {string} question */
  ask(question) {
    if (this.#running) return;
    const last = this.#conversation.turns.at(-1);
    if (last && !last.answer) this.#drop(last); // stopped or failed before the model said anything
    const turn = this.#conversation.add(question);
    const view = new TurnView(question, () => this.#again(turn));
    this.#views.set(turn, view);
    this.#log.append(view.element);
    this.#run(turn, view);
  }

  stop() {
    this.#running?.abort();
  }

  /** @param {Turn} turn */
  #again(turn) {
    const view = this.#views.get(turn);
    if (this.#running || !view || turn !== this.#conversation.turns.at(-1)) return;
    turn.answer = "";
    this.#run(turn, view);
  }

  /** @param {Turn} turn @param {TurnView} view */
  async #run(turn, view) {
    const running = new AbortController();
    this.#setRunning(running);
    view.begin();
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    const messages = this.#conversation.messages(this.#settings.system);
    const body = { messages, ...this.#settings.request() };
    try {
      for await (const event of this.#api.answer(body, running.signal)) {
        this.#following(() => this.#take(event, turn, view));
      }
      this.#said.textContent = turn.answer;
    } catch (error) {
      if (running.signal.aborted) view.stop();
      else view.fail(error instanceof ApiError ? error.message : "The page met an error of its own; reload it.");
      if (!(error instanceof ApiError) && !running.signal.aborted) throw error; // for the browser's console
    } finally {
      if (this.#running === running) this.#setRunning(null);
      this.#status.refresh();
    }
  }

  /** @param {AnswerEvent} event @param {Turn} turn @param {TurnView} view */
  #take(event, turn, view) {
    if ("text" in event) {
      turn.answer += event.text;
      view.append(event.text);
    } else if ("phase" in event) {
      this.#said.textContent = view.waitFor(event);
    } else {
      view.end(event.finish, event.timings, this.#conversation.picture !== null);
      if (event.timings) this.#status.answered(event.timings);
    }
  }

  /** @param {Picture | null} picture */
  #restart(picture) {
    this.stop();
    this.#setRunning(null);
    this.#conversation = new Conversation(picture);
    this.#views.clear();
    this.#log.replaceChildren();
    this.#log.dataset.picture = String(picture !== null);
    this.#said.textContent = "";
  }

  /** @param {Turn} turn */
  #drop(turn) {
    this.#conversation.remove(turn);
    this.#views.get(turn)?.element.remove();
    this.#views.delete(turn);
  }

  /** @param {string} line */
  #note(line) {
    const note = fromTemplate("note-template");
    find(note, "span", HTMLElement).textContent = line;
    this.#log.append(note);
    this.#said.textContent = line;
  }

  /** @param {AbortController | null} running */
  #setRunning(running) {
    this.#running = running;
    this.#composer.busy = running !== null;
    this.#log.dataset.busy = String(running !== null);
  }

  /** The log, or on a narrow screen the whole page, which ends with the log. @returns {Element} */
  get #scroller() {
    return getComputedStyle(this.#log).overflowY === "auto" ? this.#log : document.documentElement;
  }

  /** Stays at the log's end if it was there. @param {() => void} change */
  #following(change) {
    const scroller = this.#scroller;
    const wasAtEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < AT_END_PX;
    change();
    if (wasAtEnd) scroller.scrollTop = scroller.scrollHeight;
  }
}
