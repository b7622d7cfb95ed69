/** All that happened, one session after another as if they were one, and as the file that `live --report` reads. */

/** @typedef {import("./session.js").LiveEvent} LiveEvent */

const MOST = 20_000; // events
const MOST_THUMBNAILS = 2_000; // megabytes: older ones are left out of the file
const LEFT_OUT = new Set(["opened", "closing", "sound", "silence", "answer_piece", "status_changed"]);
const TIMES = ["time_s", "captured_s"];

export class Transcript {
  /** @type {LiveEvent[]} */
  #events = [];
  /** @type {LiveEvent | null} */
  #status = null;
  #began = 0; // Unix seconds
  #offset = { time: 0, question: 0, frame: 0 };
  #highest = { question: 0, frame: 0 };
  #thumbnails = 0;

  get isEmpty() {
    return this.#events.length === 0;
  }

  /** When something was. @param {number} time_s @returns {Date} */
  date(time_s) {
    return new Date((this.#began + time_s) * 1000);
  }

  /** Takes an event; the same with the times and numbers that it has here. @param {LiveEvent} event @returns {LiveEvent} */
  take(event) {
    if (event.event === "session_began") this.#begin(event);
    const moved = this.#moved(event);
    if (event.event === "status_changed") this.#status = moved;
    if (LEFT_OUT.has(event.event) || (event.event === "session_began" && this.#events.length)) return moved;
    this.#events.push(moved);
    if (moved.thumbnail) this.#keepThumbnails();
    if (this.#events.length > MOST) this.#events.splice(1, 1); // the first says what it is
    return moved;
  }

  /** @param {boolean} withFrames whether small pictures of the frames are in it @returns {Blob} a line of JSON each */
  file(withFrames) {
    const all = this.#status ? [...this.#events, this.#status] : this.#events;
    const lines = all.map(({ thumbnail, ...rest }) => JSON.stringify(withFrames && thumbnail ? { ...rest, thumbnail } : rest));
    return new Blob(lines.map((line) => `${line}\n`), { type: "application/x-ndjson" });
  }

  /** @param {LiveEvent} event */
  #begin({ started_at }) {
    if (!this.#began) this.#began = started_at;
    this.#offset = { time: Math.max(0, started_at - this.#began), ...this.#highest };
  }

  /** @param {LiveEvent} event @returns {LiveEvent} */
  #moved(event) {
    const moved = { ...event };
    for (const name of TIMES) if (typeof event[name] === "number") moved[name] = round(event[name] + this.#offset.time);
    if (typeof event.question_id === "number") moved.question_id += this.#offset.question;
    for (const name of ["frame", "looked_at"]) if (typeof event[name] === "number") moved[name] += this.#offset.frame;
    this.#highest.question = Math.max(this.#highest.question, moved.question_id ?? 0);
    this.#highest.frame = Math.max(this.#highest.frame, moved.frame ?? 0);
    return moved;
  }

  #keepThumbnails() {
    this.#thumbnails += 1;
    if (this.#thumbnails <= MOST_THUMBNAILS) return;
    const oldest = this.#events.find((event) => event.thumbnail);
    if (oldest) delete oldest.thumbnail;
    this.#thumbnails -= 1;
  }
}

/** @param {number} seconds @returns {number} */
function round(seconds) {
  return Math.round(seconds * 1e4) / 1e4;
}
