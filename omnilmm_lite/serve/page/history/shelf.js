/** The conversations that this browser keeps, and what other tabs do with them. */

import { Database, asked } from "./database.js";
import { readTalk } from "./record.js";

/**
 * @typedef {import("./record.js").Talk} Talk
 * @typedef {import("./record.js").KeptPicture} KeptPicture
 * @typedef {{kind: "saved" | "deleted", id: string, revision: number} | {kind: "forgot"}} News
 */

const DRAFT_MS = 86_400_000; // a picture that nobody asked about is kept for a day

/** What became of a write. */
export const Outcome = Object.freeze({ SAVED: "saved", NEWER: "newer", GONE: "gone" });

export class Shelf {
  #database = new Database();
  /** @type {BroadcastChannel | null} */
  #tabs = "BroadcastChannel" in globalThis ? new BroadcastChannel("omnilmm-lite") : null;

  /** @param {(news: News) => void} heard from another tab */
  listen(heard) {
    this.#tabs?.addEventListener("message", ({ data }) => heard(data));
  }

  /** Newest first, and how many can't be read. @returns {Promise<{talks: Talk[], damaged: number}>} KeepingError */
  async list() {
    const all = await this.#database.run("readonly", (talks) => asked(talks.getAll()));
    const talks = all.map(readTalk).filter((talk) => talk !== null);
    const asking = talks.filter((talk) => talk.turns.length > 0).sort((a, b) => b.changed - a.changed);
    return { talks: asking, damaged: all.length - talks.length };
  }

  /** @param {string} id @returns {Promise<{talk: Talk, picture: KeptPicture | null} | null>} null where it isn't there */
  async read(id) {
    return this.#database.run("readonly", async (talks, pictures) => {
      const [raw, picture] = await Promise.all([asked(talks.get(id)), asked(pictures.get(id))]);
      const talk = readTalk(raw);
      return talk && { talk, picture: picture ?? null };
    });
  }

  /**
   * Writes what is based on `talk.revision`. A picture is given with the first write.
   * @param {Talk} talk @param {KeptPicture | null} picture
   * @returns {Promise<string>} an Outcome: NEWER where another tab has written since, GONE where it was deleted
   */
  async write(talk, picture) {
    const revision = talk.revision + 1;
    const outcome = await this.#database.run("readwrite", async (talks, pictures) => {
      const there = await asked(talks.get(talk.id));
      if (!there && talk.revision > 0) return Outcome.GONE;
      if (there && there.revision !== talk.revision) return Outcome.NEWER;
      talks.put({ ...talk, revision });
      if (picture) pictures.put(picture);
      return Outcome.SAVED;
    });
    if (outcome === Outcome.SAVED) this.#tell({ kind: "saved", id: talk.id, revision });
    return outcome;
  }

  /** @param {string} id @param {string} title @returns {Promise<void>} */
  async rename(id, title) {
    const revision = await this.#database.run("readwrite", async (talks) => {
      const talk = readTalk(await asked(talks.get(id)));
      if (talk) talks.put({ ...talk, title, isNamed: true, revision: talk.revision + 1 });
      return talk ? talk.revision + 1 : 0;
    });
    if (revision) this.#tell({ kind: "saved", id, revision });
  }

  /** @param {string} id @returns {Promise<void>} */
  async delete(id) {
    await this.#database.run("readwrite", async (talks, pictures) => {
      talks.delete(id);
      pictures.delete(id);
    });
    this.#tell({ kind: "deleted", id, revision: 0 });
  }

  /** Unless something was asked in it elsewhere. @param {string} id @returns {Promise<void>} */
  async deleteDraft(id) {
    await this.#database.run("readwrite", async (talks, pictures) => {
      if (readTalk(await asked(talks.get(id)))?.turns.length) return;
      talks.delete(id);
      pictures.delete(id);
    });
  }

  /** Takes away drafts that no tab can still mean. @returns {Promise<void>} */
  async tidy() {
    const oldest = Date.now() - DRAFT_MS;
    await this.#database.run("readwrite", async (talks, pictures) => {
      for (const raw of await asked(talks.getAll())) {
        const talk = readTalk(raw);
        if (!talk || talk.turns.length > 0 || talk.changed > oldest) continue;
        talks.delete(talk.id);
        pictures.delete(talk.id);
      }
    });
  }

  /** All of it. @returns {Promise<void>} */
  async forget() {
    await this.#database.clear();
    this.#tell({ kind: "forgot" });
  }

  /** @param {News} news */
  #tell(news) {
    this.#tabs?.postMessage(news);
  }
}
