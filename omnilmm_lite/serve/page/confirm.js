/** One question before something is lost: what will happen, and two ways out. */

import { find } from "./dom.js";

/** @typedef {{title: string, text: string, yes: string, no: string, isDangerous?: boolean}} Asked */

/** The one dialog that asks. Escape means no. */
class Confirm {
  #dialog = find(document, "#confirm", HTMLDialogElement);
  #yes = find(document, "#confirm-yes", HTMLButtonElement);
  /** @type {((agreed: boolean) => void) | null} */
  #answer = null;

  constructor() {
    this.#dialog.addEventListener("close", () => this.#end(this.#dialog.returnValue === "yes"));
  }

  /** @param {Asked} asked @returns {Promise<boolean>} a question that another one takes over is answered with no */
  ask({ title, text, yes, no, isDangerous = false }) {
    this.#end(false);
    this.#text("#confirm-title", title);
    this.#text("#confirm-text", text);
    this.#text("#confirm-no", no);
    this.#yes.textContent = yes;
    this.#yes.classList.toggle("danger", isDangerous);
    this.#yes.classList.toggle("primary", !isDangerous);
    this.#dialog.returnValue = "";
    if (!this.#dialog.open) this.#dialog.showModal();
    return new Promise((resolve) => (this.#answer = resolve));
  }

  /** @param {boolean} agreed */
  #end(agreed) {
    this.#answer?.(agreed);
    this.#answer = null;
  }

  /** @param {string} selector @param {string} text */
  #text(selector, text) {
    find(this.#dialog, selector, HTMLElement).textContent = text;
  }
}

const dialog = new Confirm();

/** @param {Asked} asked @returns {Promise<boolean>} */
export function confirmed(asked) {
  return dialog.ask(asked);
}
