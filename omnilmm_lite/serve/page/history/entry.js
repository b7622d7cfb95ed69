/** One conversation of the list. */

import { find, fromTemplate } from "../dom.js";

/**
 * @typedef {import("./record.js").Talk} Talk
 * @typedef {{open: () => void, rename: (title: string) => void, delete: () => void}} Wishes
 */

const LONGEST_TITLE = 120;

export class Entry {
  element = fromTemplate("entry-template");
  #title;
  #wishes;
  #open = find(this.element, ".entry-open", HTMLButtonElement);
  #form = find(this.element, ".entry-form", HTMLFormElement);
  #field = find(this.element, ".entry-field", HTMLInputElement);
  #actions = [...this.element.querySelectorAll("button.square")].filter((each) => each instanceof HTMLButtonElement);
  #picture = "";

  /** @param {Talk} talk @param {boolean} isShown whether the page shows it @param {Wishes} wishes */
  constructor(talk, isShown, wishes) {
    this.#title = talk.title;
    this.#wishes = wishes;
    this.element.dataset.id = talk.id;
    find(this.element, ".entry-title", HTMLElement).textContent = talk.title;
    find(this.element, ".entry-facts", HTMLElement).textContent = facts(talk);
    if (isShown) this.#open.setAttribute("aria-current", "true");
    if (talk.picture?.thumb instanceof Blob) {
      this.#picture = URL.createObjectURL(talk.picture.thumb);
      find(this.element, "img", HTMLImageElement).src = this.#picture;
    }
    this.#open.addEventListener("click", () => wishes.open());
    this.#wireAction(".rename", "Rename", () => this.#edit());
    this.#wireAction(".delete", "Delete", () => wishes.delete());
    this.#field.maxLength = LONGEST_TITLE;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const title = this.#field.value.trim();
      this.#endEdit();
      if (title && title !== this.#title) wishes.rename(title);
    });
    this.#field.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault(); // or the drawer would close
      event.stopPropagation();
      this.#endEdit();
    });
  }

  focus() {
    this.#open.focus();
  }

  /** Lets its picture go. */
  close() {
    if (this.#picture) URL.revokeObjectURL(this.#picture);
  }

  /** @param {string} selector @param {string} verb @param {() => void} act */
  #wireAction(selector, verb, act) {
    const button = find(this.element, selector, HTMLButtonElement);
    button.setAttribute("aria-label", `${verb} “${this.#title}”`);
    button.addEventListener("click", act);
  }

  #edit() {
    this.#setEditing(true);
    this.#field.value = this.#title;
    this.#field.select();
  }

  #endEdit() {
    this.#setEditing(false);
    this.focus();
  }

  /** @param {boolean} isEditing */
  #setEditing(isEditing) {
    this.#form.hidden = !isEditing;
    this.#open.hidden = isEditing;
    for (const button of this.#actions) button.hidden = isEditing;
    if (isEditing) this.#field.focus();
  }
}

/** @param {Talk} talk */
function facts({ changed, turns, model }) {
  const when = new Date(changed);
  const isToday = when.toDateString() === new Date().toDateString();
  /** @type {Intl.DateTimeFormatOptions} */
  const form = isToday ? { timeStyle: "short" } : { dateStyle: "medium" };
  const questions = turns.length === 1 ? "1 question" : `${turns.length} questions`;
  return [new Intl.DateTimeFormat("en-GB", form).format(when), questions, model].filter(Boolean).join(" · ");
}
