/** The chat: one conversation at a time, one answer at a time. */

import { confirmed } from "../confirm.js";
import { find, fromTemplate } from "../dom.js";
import { ApiError } from "../server/api.js";
import { factsOf } from "./answer.js";
import { Composer } from "./composer.js";
import { Conversation, openAnswer, saidIn } from "./conversation.js";
import { Scroll } from "./scroll.js";
import { TurnView } from "./turn.js";

/**
 * @typedef {import("../server/api.js").Api} Api
 * @typedef {import("../history/keeper.js").Keeper} Keeper
 * @typedef {import("../picture/picture.js").Picture} Picture
 * @typedef {import("../settings/choice.js").Choice} Choice
 * @typedef {import("../settings/settings.js").Settings} Settings
 * @typedef {import("../server/status.js").Status} Status
 * @typedef {import("./answer.js").AnswerView} AnswerView
 * @typedef {import("./conversation.js").Answer} Answer
 * @typedef {import("./conversation.js").Turn} Turn
 * @typedef {{api: Api, settings: Settings, status: Status, keeper: Keeper, pictureChanged: (picture: Picture | null) => void}} Parts
 */

const KEEP_MS = 1000; // of an answer that comes: so much of it is lost at most with the tab

export class Chat {
  #parts;
  #log = find(document, "#log", HTMLElement);
  #said = find(document, "#said", HTMLElement); // what a screen reader says: an answer once, not each piece of it
  #title = find(document, "#chat-title", HTMLElement);
  #undo = find(document, "#undo", HTMLButtonElement);
  #composer = new Composer((question) => this.ask(question), () => this.stop());
  #scroll = new Scroll(this.#log);
  #conversation = new Conversation(null);
  /** @type {Map<Turn, TurnView>} */
  #views = new Map();
  /** @type {AbortController | null} */
  #running = null;
  #keptAt = 0;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    find(document, "#clear", HTMLButtonElement).addEventListener("click", () => this.#beginAnew());
    this.#undo.addEventListener("click", () => this.#takeBack());
    addEventListener("pagehide", () => {
      if (this.#running) this.#keep();
    });
    this.#render();
    this.#composer.focus();
  }

  get conversation() {
    return this.#conversation;
  }

  get isRunning() {
    return this.#running !== null;
  }

  /**
   * Asks where a conversation would end.
   * @param {string} title @param {string} begins what begins instead
   * @returns {Promise<boolean>}
   */
  async mayEnd(title, begins) {
    if (!this.#conversation.turns.length) return true;
    const stops = this.#running ? " The answer that is coming stops." : "";
    const stays = this.#parts.keeper.isKeeping
      ? "This one stays in the list of conversations."
      : "This one is lost: the browser doesn’t keep it.";
    return confirmed({ title, text: `${begins}${stops} ${stays}`, yes: "Begin a new one", no: "Stay in this one" });
  }

  /** Whether it would be lost if another one began. @returns {boolean} */
  get wouldBeLost() {
    return this.#conversation.turns.length > 0 && !this.#parts.keeper.isKeeping;
  }

  /** A picture belongs to one conversation. @param {Picture | null} picture */
  setPicture(picture) {
    const began = this.#conversation.turns.length > 0;
    this.#leave();
    this.show(new Conversation(picture));
    if (picture) this.#keep();
    if (began) this.#note(picture ? "New picture, new conversation" : "No picture, new conversation");
    if (picture) this.#composer.focus();
  }

  /** @param {Conversation} conversation */
  show(conversation) {
    this.stop();
    this.#setRunning(null);
    this.#conversation = conversation;
    this.#parts.keeper.show(conversation);
    this.#log.replaceChildren(); // notes, too
    this.#render();
    this.#scroll.toEnd();
  }

  /** Another conversation takes its place, or another state of it. @param {Conversation} conversation */
  replace(conversation) {
    if (conversation.id !== this.#conversation.id) this.#leave();
    this.#parts.pictureChanged(conversation.picture);
    this.show(conversation);
  }

  /** @param {string} question @param {Turn | null} instead */
  ask(question, instead = null) {
    if (this.#running) return;
    const choices = this.#parts.settings.choices;
    const turn = this.#conversation.ask(question, choices.map((choice) => openAnswer(choice.summary)), instead);
    this.#render();
    this.#run(turn, choices);
  }

  stop() {
    this.#running?.abort();
  }

  /** @param {string} title */
  rename(title) {
    this.#conversation.title = title;
    this.#showState();
  }

  /** @param {Turn} turn */
  #again(turn) {
    const view = this.#views.get(turn);
    if (this.#running || !view || turn !== this.#conversation.turns.at(-1)) return;
    const choices = this.#parts.settings.choices;
    this.#conversation.answerAgain(turn, choices.map((choice) => openAnswer(choice.summary)));
    view.build();
    this.#run(turn, choices);
  }

  /** The answers of a turn, one after the other. @param {Turn} turn @param {Choice[]} choices */
  async #run(turn, choices) {
    const view = this.#views.get(turn);
    if (!view) return;
    const conversation = this.#conversation; // another one may be shown before the end
    const running = new AbortController();
    this.#setRunning(running);
    view.begin();
    this.#scroll.toEnd();
    this.#keep();
    this.#parts.keeper.show(this.#conversation);
    try {
      for (const [which, choice] of choices.entries()) {
        await this.#answer(turn.answers[which], view.answers[which], choice, running.signal);
        this.#scroll.following(() => view.answers[which].show(turn.answers[which], which === turn.chosen));
      }
    } finally {
      if (!saidIn(turn)) turn.chosen = Math.max(0, turn.answers.findIndex(({ text }) => text));
      this.#scroll.following(() => view.show());
      this.#keep(conversation);
      if (this.#running === running) this.#setRunning(null);
      this.#parts.status.refresh();
    }
  }

  /** @param {Answer} answer @param {AnswerView} view @param {Choice} choice @param {AbortSignal} signal */
  async #answer(answer, view, choice, signal) {
    const { api, status } = this.#parts;
    const conversation = this.#conversation;
    try {
      signal.throwIfAborted();
      const body = { messages: conversation.messages(choice.system), ...choice.request() };
      for await (const event of api.answer(body, signal)) {
        if ("text" in event) {
          answer.text += event.text;
          this.#scroll.following(() => view.append(event.text));
          if (performance.now() - this.#keptAt > KEEP_MS) this.#keep();
        } else if ("phase" in event) {
          this.#said.textContent = view.waitFor(event);
        } else {
          answer.facts = factsOf(event.finish, event.timings, conversation.picture !== null);
          if (event.timings) status.answered(event.timings);
        }
      }
      conversation.model = api.modelName;
      this.#said.textContent = answer.text;
    } catch (error) {
      if (signal.aborted) answer.facts = ["stopped"];
      else answer.failure = error instanceof ApiError ? error.message : "The page met an error of its own; reload it.";
      if (!(error instanceof ApiError) && !signal.aborted) throw error; // for the browser's console
    } finally {
      answer.isWhole = true;
    }
  }

  async #beginAnew() {
    if (this.wouldBeLost && !(await this.mayEnd("Begin a new conversation?", "The picture stays."))) return;
    this.#leave();
    this.show(new Conversation(this.#conversation.picture));
    if (this.#conversation.picture) this.#keep();
    this.#composer.focus();
  }

  #takeBack() {
    this.stop();
    this.#setRunning(null);
    const question = this.#conversation.undo();
    this.#composer.offer(question);
    this.#render();
    this.#keep();
    this.#parts.keeper.show(this.#conversation);
    this.#said.textContent = question ? "The last question was taken back" : "The last step was taken back";
    this.#composer.focus();
  }

  /** @param {Turn} turn @param {number} which */
  #choose(turn, which) {
    turn.chosen = which;
    this.#views.get(turn)?.showChosen();
    this.#keep();
  }

  /** What nobody asked anything about isn't kept. */
  #leave() {
    this.stop();
    if (!this.#conversation.turns.length) this.#parts.keeper.drop(this.#conversation);
  }

  #keep(conversation = this.#conversation) {
    const { turns, picture, revision } = conversation;
    if (!turns.length && !picture && !revision) return;
    this.#keptAt = performance.now();
    this.#parts.keeper.keep(conversation);
  }

  /** Brings what is shown in step with the conversation. */
  #render() {
    const { turns, picture } = this.#conversation;
    for (const [turn, view] of this.#views) {
      if (turns.includes(turn)) continue;
      view.element.remove();
      this.#views.delete(turn);
    }
    for (const turn of turns) {
      if (this.#views.has(turn)) continue;
      const view = new TurnView(turn, {
        again: () => this.#again(turn),
        choose: (which) => this.#choose(turn, which),
        askInstead: (question) => this.ask(question, turn),
      });
      view.show();
      this.#views.set(turn, view);
      this.#log.append(view.element);
    }
    this.#log.dataset.picture = String(picture !== null);
    this.#said.textContent = "";
    this.#showState();
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

  #showState() {
    const { title, turns, canUndo } = this.#conversation;
    this.#title.textContent = title || "Conversation";
    this.#undo.disabled = !canUndo;
    find(document, "#export", HTMLButtonElement).disabled = turns.length === 0;
    document.documentElement.toggleAttribute("data-talking", turns.length > 0);
  }
}
