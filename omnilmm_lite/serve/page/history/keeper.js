/** Keeps the tab's conversation in the browser, step by step, and brings it back. Says in one line what goes wrong. */

import { Conversation } from "../chat/conversation.js";
import { restoredPicture } from "../picture/picture.js";
import { kept, keptInTab } from "../store.js";
import { KeepingError } from "./database.js";
import { Outcome, Shelf } from "./shelf.js";

/**
 * @typedef {import("./shelf.js").News} News
 * @typedef {Object} Events
 * @property {(line: string) => void} said what stands in the way; empty where nothing does
 * @property {(news: News) => void} heard what another tab did
 * @property {(conversation: Conversation) => void} gone another tab deleted it
 */

const CURRENT = "conversation";
const PARTED = "Another tab went on with this conversation: here it goes on as one of its own.";
const NO_PICTURE = "The picture of this conversation can’t be read any more: choose it again.";

export class Keeper {
  shelf = new Shelf();
  #events;
  /** @type {Set<Conversation>} */
  #changed = new Set();
  /** @type {Promise<void> | null} */
  #writing = null;
  #isKeeping = true;

  /** @param {Events} events */
  constructor(events) {
    this.#events = events;
    this.shelf.listen((news) => events.heard(news));
    this.shelf.tidy().catch(() => {}); // the first write says what is wrong
  }

  /** Whether what is said now would be there after the tab. */
  get isKeeping() {
    return this.#isKeeping;
  }

  /** The conversation that this tab shows, if any. @param {Conversation | null} conversation */
  show(conversation) {
    const id = conversation && (conversation.turns.length > 0 || conversation.picture) ? conversation.id : null;
    keptInTab.write(CURRENT, id ?? ""); // a tab that begins anew stays empty
    kept.write(CURRENT, id); // where another tab begins
  }

  /** What this tab had, else what the last one had. @returns {Promise<Conversation | null>} */
  async last() {
    const own = keptInTab.read(CURRENT);
    const id = own ?? kept.read(CURRENT);
    const conversation = typeof id === "string" && id ? await this.open(id) : null;
    if (conversation && own === null && !conversation.turns.length) {
      conversation.part(); // two tabs may ask different things about one picture
      this.keep(conversation);
    }
    return conversation;
  }

  /** @param {string} id @returns {Promise<Conversation | null>} null where it isn't there */
  async open(id) {
    await this.#writing;
    try {
      const found = await this.shelf.read(id);
      if (!found) return null;
      const { talk, picture } = found;
      const facts = talk.picture;
      const read = facts && picture ? await restoredPicture(facts, picture).catch(() => null) : null;
      this.#events.said(facts && !read ? NO_PICTURE : "");
      return Conversation.from(talk, read);
    } catch (error) {
      this.#fail(error);
      return null;
    }
  }

  /** Writes it, once what is being written is done. @param {Conversation} conversation @returns {Promise<void>} */
  keep(conversation) {
    this.#changed.add(conversation);
    this.#writing ??= this.#write().finally(() => (this.#writing = null));
    return this.#writing;
  }

  /** @param {Conversation} conversation that nobody asked anything in */
  async drop(conversation) {
    this.#changed.delete(conversation);
    await this.#writing;
    if (conversation.revision) await this.shelf.deleteDraft(conversation.id).catch(() => {});
  }

  /** Everything of this page's. @returns {Promise<void>} */
  async forget() {
    this.#changed.clear();
    await this.#writing;
    try {
      await this.shelf.forget();
      this.#isKeeping = true;
      this.#events.said("");
    } catch (error) {
      this.#fail(error);
    }
  }

  async #write() {
    for (const conversation of this.#changed) {
      this.#changed.delete(conversation);
      try {
        await this.#writeOne(conversation);
      } catch (error) {
        this.#fail(error);
      }
    }
  }

  /** @param {Conversation} conversation */
  async #writeOne(conversation) {
    const talk = conversation.record();
    const { picture } = conversation;
    const file = picture && talk.revision === 0 ? { id: talk.id, sent: picture.sent, shown: picture.shown } : null;
    const outcome = await this.shelf.write(talk, file);
    if (outcome === Outcome.GONE) return this.#events.gone(conversation);
    if (outcome === Outcome.NEWER) {
      const wasShown = keptInTab.read(CURRENT) === conversation.id;
      conversation.part();
      await this.#writeOne(conversation);
      if (wasShown) this.show(conversation);
      return this.#events.said(PARTED);
    }
    conversation.revision = talk.revision + 1;
    if (!this.#isKeeping) this.#events.said("");
    this.#isKeeping = true;
  }

  /** @param {unknown} error */
  #fail(error) {
    if (!(error instanceof KeepingError)) throw error;
    this.#isKeeping = false;
    this.#events.said(error.message);
  }
}
