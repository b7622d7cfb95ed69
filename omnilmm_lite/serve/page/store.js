/** What the browser keeps for this page; nothing where it refuses to. */

const PREFIX = "omnilmm-lite.";

export class Store {
  #open;

  /** @param {() => Storage} open reading `localStorage` may throw by itself */
  constructor(open) {
    this.#open = open;
  }

  /** @param {string} name @returns {any} null where nothing is kept */
  read(name) {
    try {
      return JSON.parse(this.#open().getItem(PREFIX + name) ?? "null");
    } catch {
      return null;
    }
  }

  /** @param {string} name @param {any} value null forgets it */
  write(name, value) {
    try {
      if (value === null) this.#open().removeItem(PREFIX + name);
      else this.#open().setItem(PREFIX + name, JSON.stringify(value));
    } catch {
      // a private window may keep nothing; the page works all the same
    }
  }
}

export const kept = new Store(() => localStorage);
export const keptInTab = new Store(() => sessionStorage);
