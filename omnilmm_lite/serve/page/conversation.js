/** What was said so far about one picture, or about none. */

/**
 * @typedef {{question: string, answer: string}} Turn
 * @typedef {{role: "system" | "user" | "assistant", content: string | object[]}} Message
 */

export class Conversation {
  /** @type {Turn[]} */
  turns = [];

  /** @param {import("./picture.js").Picture | null} picture */
  constructor(picture) {
    this.picture = picture;
  }

  /** @param {string} question @returns {Turn} */
  add(question) {
    const turn = { question, answer: "" };
    this.turns.push(turn);
    return turn;
  }

  /** @param {Turn} turn */
  remove(turn) {
    this.turns = this.turns.filter((each) => each !== turn);
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
    this.turns.forEach(({ question, answer }, index) => {
      messages.push({ role: "user", content: index === 0 ? this.#withPicture(question) : question });
      if (index < last) messages.push({ role: "assistant", content: answer });
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
