/** The browser's database: conversations, and apart from them their pictures. Failures are KeepingErrors of one line. */

const NAME = "omnilmm-lite";
const VERSION = 1;
const TALKS = "conversations";
const PICTURES = "pictures";

const REFUSED = "This browser keeps nothing for the page, as in a private window: a conversation ends with its tab.";
const FULL = "The browser’s storage is full: this conversation ends with its tab, unless earlier ones are deleted.";
const NEWER = "A newer version of this page was used in this browser: reload, or nothing more is kept.";
const DAMAGED = "The browser can’t use what it kept for this page: “Forget everything” begins afresh.";
const LINES = new Map([
  ["QuotaExceededError", FULL],
  ["VersionError", NEWER],
  ["SecurityError", REFUSED],
  ["InvalidStateError", REFUSED], // Firefox, in private windows of before version 115
]);

export class KeepingError extends Error {}

/**
 * @template T
 * @typedef {(talks: IDBObjectStore, pictures: IDBObjectStore) => Promise<T>} Work
 */

export class Database {
  /** @type {Promise<IDBDatabase> | null} */
  #opening = null;
  #isOutdated = false;

  /**
   * All of `work` is done, or nothing of it. It may await requests of its own alone, or the transaction ends.
   * @template T @param {IDBTransactionMode} mode @param {Work<T>} work
   * @returns {Promise<T>}
   */
  async run(mode, work) {
    try {
      return await transact(await this.#opened(), mode, work);
    } catch (error) {
      throw inWords(error);
    }
  }

  /** Empties it; where it can't be opened, it is taken away whole. @returns {Promise<void>} */
  async clear() {
    try {
      await this.run("readwrite", async (talks, pictures) => {
        talks.clear();
        pictures.clear();
      });
    } catch {
      this.#isOutdated = false;
      this.#opening = null;
      await asked(indexedDB.deleteDatabase(NAME)).catch((error) => {
        throw inWords(error);
      });
    }
  }

  /** @returns {Promise<IDBDatabase>} */
  #opened() {
    if (this.#isOutdated) throw new KeepingError(NEWER);
    this.#opening ??= this.#open().catch((error) => {
      this.#opening = null; // perhaps the next time
      throw error;
    });
    return this.#opening;
  }

  async #open() {
    const request = indexedDB.open(NAME, VERSION); // reading `indexedDB` may throw by itself
    request.onupgradeneeded = () => {
      request.result.createObjectStore(TALKS, { keyPath: "id" });
      request.result.createObjectStore(PICTURES, { keyPath: "id" });
    };
    const database = await asked(request);
    database.onversionchange = ({ newVersion }) => {
      database.close(); // or another tab would wait for this one
      this.#opening = null;
      this.#isOutdated = newVersion !== null;
    };
    database.onclose = () => (this.#opening = null); // the browser took it away
    return database;
  }
}

/**
 * @template T @param {IDBDatabase} database @param {IDBTransactionMode} mode @param {Work<T>} work
 * @returns {Promise<T>}
 */
function transact(database, mode, work) {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction([TALKS, PICTURES], mode);
    const done = work(transaction.objectStore(TALKS), transaction.objectStore(PICTURES));
    transaction.oncomplete = () => resolve(done);
    transaction.onabort = () => reject(transaction.error);
    done.catch((error) => {
      reject(error);
      try {
        transaction.abort();
      } catch {
        // it has ended by itself
      }
    });
  });
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
export function asked(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @param {unknown} error @returns {KeepingError} */
function inWords(error) {
  if (error instanceof KeepingError) return error;
  if (error instanceof DOMException) return new KeepingError(LINES.get(error.name) ?? DAMAGED);
  return new KeepingError(typeof globalThis.indexedDB === "undefined" ? REFUSED : DAMAGED);
}
