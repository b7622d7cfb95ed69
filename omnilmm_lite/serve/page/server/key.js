/** The server's key: asked for when the server wants one, kept as long as the tab. */

import { find, say } from "../dom.js";
import { keptInTab } from "../store.js";

const KEPT = "key";

export class Key {
  #dialog = find(document, "#key", HTMLDialogElement);
  #field = find(document, "#key-field", HTMLInputElement);
  #line = find(document, "#key-line", HTMLElement);
  /** @type {Promise<boolean> | null} */
  #asking = null;

  /** @returns {string} empty where there is none */
  get value() {
    return keptInTab.read(KEPT) ?? "";
  }

  forget() {
    keptInTab.write(KEPT, null);
  }

  /**
   * Asks for a key, once however many requests were refused.
   * @param {string} refused the key that the server did not take
   * @returns {Promise<boolean>} whether there is another one to try
   */
  ask(refused) {
    if (this.value !== refused) return Promise.resolve(true);
    this.#asking ??= this.#show(refused).finally(() => (this.#asking = null));
    return this.#asking;
  }

  /** @param {string} refused @returns {Promise<boolean>} */
  #show(refused) {
    say(this.#line, refused ? "That is not the server’s key." : "This server answers only those who have its key.");
    this.#field.value = "";
    this.#dialog.returnValue = "";
    this.#dialog.showModal();
    return new Promise((resolve) => {
      const closed = () => {
        const given = this.#dialog.returnValue === "use" ? this.#field.value.trim() : "";
        this.#field.value = "";
        if (given) keptInTab.write(KEPT, given);
        resolve(given !== "");
      };
      this.#dialog.addEventListener("close", closed, { once: true });
    });
  }
}
