/** A conversation as JSON, for programs: all of it, the picture's own file in base64. */

/** @typedef {import("./sheet.js").Sheet} Sheet */

const FORMAT = "omnilmm-lite conversation";
const VERSION = 1;

/** @param {Sheet} sheet @returns {string} */
export function json({ title, model, date, picture, turns }) {
  const file = picture && { name: picture.name, width: picture.width, height: picture.height, data_url: picture.url };
  const said = turns.map(({ question, answers, chosen }) => ({
    question,
    answers: answers.map(({ text, settings, facts, failure }) => ({ text, settings, facts, failure })),
    chosen,
  }));
  return `${JSON.stringify({ format: FORMAT, version: VERSION, title, model, date, picture: file, turns: said }, null, 2)}\n`;
}
