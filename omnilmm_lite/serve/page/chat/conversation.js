/** What was said so far about one picture, or about none. */

/**
 * @typedef {import("../picture/picture.js").Picture} Picture
 * @typedef {import("../history/record.js").Talk} Talk
 * @typedef {Object} Answer
 * @property {string} text
 * @property {string} settings how it was chosen, in words
 * @property {string[]} facts how it ended and how fast it was, in words
 * @property {string} failure why there is no more of it; empty where nothing went wrong
 * @property {boolean} isWhole false while it comes
 * @typedef {{question: string, answers: Answer[], chosen: number}} Turn two answers where settings are compared; the
 *   chosen one is what the conversation goes on from
 * @typedef {{role: "system" | "user" | "assistant", content: string | object[]}} Message
 */

const TITLE_LENGTH = 60;
const MOST_PAST = 50;

/** @param {string} settings @returns {Answer} */
export function openAnswer(settings) {
  return { text: "", settings, facts: [], failure: "", isWhole: false };
}

/** What the conversation goes on from. @param {Turn} turn @returns {string} */
export function saidIn(turn) {
  return turn.answers[turn.chosen].text;
}

export class Conversation {
  id = newId();
  revision = 0; // of the browser's copy; 0: there is none
  created = Date.now();
  model = "";
  /** @type {Turn[]} */
  turns = [];
  #title = "";
  /** @type {Turn[][]} what the turns were before each step, the last step's at the end */
  #past = [];

  /** @param {Picture | null} picture */
  constructor(picture) {
    this.picture = picture;
  }

  /** @param {Talk} talk @param {Picture | null} picture @returns {Conversation} */
  static from(talk, picture) {
    const conversation = new Conversation(picture);
    Object.assign(conversation, { id: talk.id, revision: talk.revision, created: talk.created, model: talk.model });
    conversation.turns = structuredClone(talk.turns);
    if (talk.isNamed) conversation.#title = talk.title;
    return conversation;
  }

  /** A copy of its own, which no other tab knows. */
  part() {
    this.id = newId();
    this.revision = 0;
  }

  /** The user's, or the first question's beginning; empty where nothing was asked. @returns {string} */
  get title() {
    const line = this.turns[0]?.question.replace(/\s+/g, " ").trim() ?? "";
    return this.#title || (line.length > TITLE_LENGTH ? `${line.slice(0, TITLE_LENGTH - 1).trimEnd()}…` : line);
  }

  set title(title) {
    this.#title = title;
  }

  /** @returns {Talk} */
  record() {
    const { picture } = this;
    return {
      id: this.id,
      revision: this.revision,
      title: this.title,
      isNamed: this.#title !== "",
      created: this.created,
      changed: Date.now(),
      model: this.model,
      picture: picture && { name: picture.name, width: picture.width, height: picture.height, facts: picture.facts,
        thumb: picture.thumb },
      turns: structuredClone(this.turns),
    };
  }

  // ---- steps, which can be taken back ----

  /**
   * @param {string} question @param {Answer[]} answers still open
   * @param {Turn | null} instead this turn, and all that came after it, give way to the question
   * @returns {Turn}
   */
  ask(question, answers, instead = null) {
    this.#remember();
    const turns = instead ? this.turns.slice(0, this.turns.indexOf(instead)) : this.turns;
    const turn = { question, answers, chosen: 0 };
    this.turns = [...turns.filter((each) => saidIn(each)), turn]; // what the model said nothing to is no part of it
    return turn;
  }

  /** @param {Turn} turn the last one @param {Answer[]} answers */
  answerAgain(turn, answers) {
    this.#remember();
    turn.answers = answers;
    turn.chosen = 0;
  }

  /** As it was before the last step; after a reload, without the last question. @returns {string} a question taken back */
  undo() {
    const before = this.#past.pop() ?? this.turns.slice(0, -1);
    const taken = before.length < this.turns.length ? (this.turns.at(-1)?.question ?? "") : "";
    this.turns = before;
    return taken;
  }

  get canUndo() {
    return this.#past.length > 0 || this.turns.length > 0;
  }

  #remember() {
    this.#past.push(structuredClone(this.turns));
    if (this.#past.length > MOST_PAST) this.#past.shift();
  }

  /**
   * The request for the last turn's answer. The picture goes with the first question, as the model was trained.
   * @param {string} system empty leaves the model's own
   * @returns {Message[]}
   */
  messages(system) {
    /** @type {Message[]} */
    const messages = system.trim() ? [{ role: "system", content: system }] : [];
    const last = this.turns.length - 1;
    this.turns.forEach((turn, index) => {
      messages.push({ role: "user", content: index === 0 ? this.#withPicture(turn.question) : turn.question });
      if (index < last) messages.push({ role: "assistant", content: saidIn(turn) });
    });
    return messages;
  }

  /** @param {string} question @returns {string | object[]} */
  #withPicture(question) {
    if (!this.picture) return question;
    return [
      { type: "image_url", image_url: { url: this.picture.dataUrl } },
      { type: "text", text: question },
    ];
  }
}

/** crypto.randomUUID is for local and https pages alone. @returns {string} */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
