/** A question and its answers as they stand in the chat. */

import { find, fromTemplate } from "../dom.js";
import { AnswerView } from "./answer.js";

/**
 * @typedef {import("./conversation.js").Turn} Turn
 * @typedef {Object} Wishes
 * @property {() => void} again asks the same once more
 * @property {(which: number) => void} choose goes on from this answer
 * @property {(question: string) => void} askInstead another question in this one's place
 */

export class TurnView {
  element = fromTemplate("turn-template");
  /** @type {AnswerView[]} */
  answers = [];
  #turn;
  #wishes;
  #asked = find(this.element, ".asked", HTMLElement);
  #form = find(this.element, ".edit-form", HTMLFormElement);
  #field = find(this.element, ".edit-field", HTMLTextAreaElement);
  #edit = find(this.element, ".edit", HTMLButtonElement);

  /** @param {Turn} turn @param {Wishes} wishes */
  constructor(turn, wishes) {
    this.#turn = turn;
    this.#wishes = wishes;
    find(this.element, ".question-text", HTMLElement).textContent = turn.question;
    this.#edit.addEventListener("click", () => this.#open());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const question = this.#field.value.trim();
      if (question) this.#wishes.askInstead(question);
    });
    find(this.element, ".edit-cancel", HTMLButtonElement).addEventListener("click", () => this.#close());
    this.#field.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        this.#form.requestSubmit();
      } else if (event.key === "Escape") {
        event.stopPropagation();
        this.#close();
      }
    });
    this.build();
  }

  /** Places for the answers that the turn has now. */
  build() {
    const { answers } = this.#turn;
    const { again, choose } = this.#wishes;
    this.answers = answers.map(({ settings }, which) => {
      const heading = answers.length > 1 ? `${"AB"[which]}: ${settings}` : "";
      return new AnswerView(heading, { again, choose: () => choose(which) });
    });
    const row = find(this.element, ".answers", HTMLElement);
    row.replaceChildren(...this.answers.map(({ element }) => element));
    row.dataset.count = String(answers.length);
  }

  /** Waiting for the first answer; a second one waits for the first. */
  begin() {
    this.element.dataset.state = "waiting";
    for (const view of this.answers) view.begin();
    for (const view of this.answers.slice(1)) view.waitFor({ phase: "other", place: 0 });
  }

  /** All of it, as it ended. */
  show() {
    this.answers.forEach((view, which) => view.show(this.#turn.answers[which], which === this.#turn.chosen));
    this.element.dataset.state = "done";
  }

  /** Which answer the conversation goes on from. */
  showChosen() {
    this.answers.forEach((view, which) => (view.chosen = which === this.#turn.chosen));
  }

  #open() {
    this.#asked.hidden = true;
    this.#form.hidden = false;
    this.#field.value = this.#turn.question;
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight + 2}px`;
    this.#field.focus();
    this.#field.select();
  }

  #close() {
    this.#form.hidden = true;
    this.#asked.hidden = false;
    this.#edit.focus();
  }
}
