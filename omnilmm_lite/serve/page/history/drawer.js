/** The list of earlier conversations: found, opened, renamed, deleted, and all forgotten. */

import { confirmed } from "../confirm.js";
import { find, say } from "../dom.js";
import { KeepingError } from "./database.js";
import { Entry } from "./entry.js";
import { matches } from "./record.js";

/**
 * @typedef {import("./record.js").Talk} Talk
 * @typedef {import("./shelf.js").Shelf} Shelf
 * @typedef {Object} Owner
 * @property {() => string} shown the id of the conversation on the page
 * @property {(id: string) => Promise<void>} open
 * @property {(id: string, title: string) => Promise<void>} rename
 * @property {(id: string) => Promise<void>} delete
 * @property {() => Promise<void>} forget
 */

export class Drawer {
  #dialog = find(document, "#history", HTMLDialogElement);
  #search = find(document, "#history-search", HTMLInputElement);
  #list = find(document, "#history-list", HTMLElement);
  #count = find(document, "#history-count", HTMLElement);
  #line = find(document, "#history-line", HTMLElement);
  #shelf;
  #owner;
  /** @type {Talk[]} */
  #talks = [];
  /** @type {Entry[]} */
  #entries = [];

  /** @param {Shelf} shelf @param {Owner} owner */
  constructor(shelf, owner) {
    this.#shelf = shelf;
    this.#owner = owner;
    find(document, "#open-history", HTMLButtonElement).addEventListener("click", () => this.#open());
    find(document, "#history-close", HTMLButtonElement).addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close(); // beside the drawer
    });
    this.#dialog.addEventListener("close", () => this.#clear());
    this.#search.addEventListener("input", () => this.#show());
    find(document, "#forget", HTMLButtonElement).addEventListener("click", () => this.#forget());
  }

  /** Looks again, if somebody sees it. */
  async refresh() {
    if (!this.#dialog.open) return;
    try {
      const { talks, damaged } = await this.#shelf.list();
      this.#talks = talks;
      say(this.#line, damaged ? `${damaged} kept here can’t be read. “Forget everything” takes them away.` : "");
    } catch (error) {
      if (!(error instanceof KeepingError)) throw error;
      this.#talks = [];
      say(this.#line, error.message);
    }
    this.#show();
  }

  #open() {
    this.#search.value = "";
    this.#dialog.showModal();
    return this.refresh();
  }

  #show() {
    this.#clear();
    const found = this.#talks.filter((talk) => matches(talk, this.#search.value.trim()));
    const shown = this.#owner.shown();
    this.#entries = found.map(
      (talk) =>
        new Entry(talk, talk.id === shown, {
          open: () => this.#opened(talk),
          rename: (title) => this.#renamed(talk, title),
          delete: () => this.#deleted(talk),
        }),
    );
    this.#list.replaceChildren(...this.#entries.map(({ element }) => element));
    const all = this.#talks.length;
    const searches = this.#search.value.trim() !== "";
    this.#count.textContent = searches ? `${found.length} of ${all} found` : all ? counted(all) : "None so far";
  }

  #clear() {
    for (const entry of this.#entries) entry.close();
    this.#entries = [];
    this.#list.replaceChildren();
  }

  /** @param {Talk} talk */
  async #opened({ id }) {
    this.#dialog.close();
    await this.#owner.open(id);
  }

  /** @param {Talk} talk @param {string} title */
  async #renamed({ id }, title) {
    await this.#tried(() => this.#owner.rename(id, title));
    this.#entries.find(({ element }) => element.dataset.id === id)?.focus();
  }

  /** @param {Talk} talk */
  async #deleted({ id, title }) {
    const text = "Its questions, answers and picture are taken out of this browser, for good.";
    const agreed = await confirmed({ title: `Delete “${title}”?`, text, yes: "Delete it", no: "Keep it", isDangerous: true });
    if (!agreed) return;
    await this.#tried(() => this.#owner.delete(id));
    this.#search.focus();
  }

  async #forget() {
    const text = "All conversations and their pictures, the settings, the choice of light or dark, and the server’s key: " +
      "this browser keeps nothing of this page any more, in any of its tabs.";
    const agreed = await confirmed({ title: "Forget everything?", text, yes: "Forget everything", no: "Keep it",
      isDangerous: true });
    if (!agreed) return;
    await this.#owner.forget();
    this.#dialog.close(); // not before: what is asked now is kept again
  }

  /** @param {() => Promise<void>} step */
  async #tried(step) {
    try {
      await step();
      await this.refresh();
    } catch (error) {
      if (!(error instanceof KeepingError)) throw error;
      say(this.#line, error.message);
    }
  }
}

/** @param {number} count */
function counted(count) {
  return `${count} ${count === 1 ? "conversation" : "conversations"}, in this browser alone`;
}
