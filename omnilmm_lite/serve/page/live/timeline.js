/** What was seen, asked and answered, in the order in which it happened. */

import { Scroll } from "../chat/scroll.js";
import { find, fromTemplate } from "../dom.js";
import { duration } from "../format.js";

/** @typedef {import("./session.js").LiveEvent} LiveEvent */

const MOST = 400; // entries that are shown
const NAMES = /** @type {Record<string, string>} */ ({
  capture: "Camera", describe: "Descriptions", answer: "Answers", summarise: "Summary", listen: "Ears", speak: "Voice",
});

export class Timeline {
  #log = find(document, "#log", HTMLElement);
  #scroll = new Scroll(this.#log);
  #date;
  /** @type {Map<number, HTMLElement>} the answers under way, by their questions */
  #answers = new Map();

  /** @param {(time_s: number) => Date} date */
  constructor(date) {
    this.#date = date;
  }

  /** @param {LiveEvent} event */
  show(event) {
    this.#scroll.following(() => this.#show(event));
  }

  /** A line between the entries. @param {string} line @param {boolean} [isTrouble] */
  note(line, isTrouble = false) {
    this.#scroll.following(() => this.#note(line, isTrouble));
  }

  /** Answers that no session will end any more. */
  breakOff() {
    for (const [id, answer] of this.#answers) this.#ended(id, answer, "broke off");
  }

  /** @param {LiveEvent} event */
  #show(event) {
    switch (event.event) {
      case "frame_described": return this.#described(event);
      case "question_asked": return this.#asked(event);
      case "answer_piece": return this.#said(event);
      case "answer_ended": return this.#answered(event);
      case "trouble": return this.#note(`${NAMES[event.stage] ?? event.stage}: ${event.message}`, true);
      case "recovered": return this.#note(`${NAMES[event.stage] ?? event.stage}: working again`);
      default:
    }
  }

  /** @param {LiveEvent} event */
  #described({ frame, description, thumbnail, captured_s, latency_s }) {
    const entry = this.#add("seen-template");
    entry.id = `frame-${frame}`;
    find(entry, "img", HTMLImageElement).src = `data:image/jpeg;base64,${thumbnail}`;
    find(entry, ".seen-text", HTMLElement).textContent = description;
    find(entry, ".seen-facts", HTMLElement).textContent = `${this.#clock(captured_s)} · frame ${frame} · after ${duration(latency_s)}`;
  }

  /** @param {LiveEvent} event */
  #asked({ question_id, text, spoken, time_s }) {
    const entry = this.#add("round-template");
    find(entry, ".question-text", HTMLElement).textContent = text;
    find(entry, ".heard", SVGElement).toggleAttribute("hidden", !spoken);
    entry.title = this.#clock(time_s);
    this.#answers.set(question_id, entry);
  }

  /** @param {LiveEvent} event */
  #said({ question_id, text }) {
    const entry = this.#answers.get(question_id);
    if (!entry) return;
    entry.dataset.state = "answering";
    find(entry, ".answer-text", HTMLElement).textContent += text;
  }

  /** @param {LiveEvent} event */
  #answered({ question_id, text, looked_at, first_piece_s, total_s, interrupted }) {
    const entry = this.#answers.get(question_id);
    if (!entry) return;
    find(entry, ".answer-text", HTMLElement).textContent = text;
    const parts = [looked_at === null ? "from descriptions" : `looked at frame ${looked_at}`];
    if (first_piece_s !== null) parts.push(`first word after ${duration(first_piece_s)}`);
    else parts.push(`after ${duration(total_s)}`);
    if (interrupted) parts.push("interrupted");
    else if (!text) parts.push("no answer");
    this.#ended(question_id, entry, parts.join(" · "));
  }

  /** @param {number} id @param {HTMLElement} entry @param {string} facts */
  #ended(id, entry, facts) {
    entry.dataset.state = "done";
    find(entry, ".answer-facts", HTMLElement).textContent = facts;
    this.#answers.delete(id);
  }

  /** @param {string} line @param {boolean} isTrouble */
  #note(line, isTrouble = false) {
    const note = this.#add("note-template");
    note.dataset.trouble = String(isTrouble);
    find(note, "span", HTMLElement).textContent = line;
  }

  /** @param {string} template @returns {HTMLElement} */
  #add(template) {
    const entry = fromTemplate(template);
    this.#log.append(entry);
    while (this.#log.childElementCount > MOST) this.#log.firstElementChild?.remove();
    return entry;
  }

  /** @param {number} time_s @returns {string} */
  #clock(time_s) {
    return this.#date(time_s).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  }
}
