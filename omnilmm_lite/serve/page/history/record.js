/** A conversation as the database holds it: data alone. What another version or an accident left there is looked at. */

/**
 * @typedef {import("../chat/conversation.js").Turn} Turn
 * @typedef {import("../picture/picture.js").Picture} Picture
 * @typedef {{name: string, width: number, height: number, facts: string, thumb: Blob | null}} PictureFacts
 * @typedef {Object} Talk
 * @property {string} id
 * @property {number} revision how often it was written: who knows another one has an older state
 * @property {string} title
 * @property {boolean} isNamed whether the user gave the title
 * @property {number} created milliseconds since 1970
 * @property {number} changed
 * @property {string} model
 * @property {PictureFacts | null} picture
 * @property {Turn[]} turns
 * @typedef {{id: string, sent: Blob, shown: Blob | null}} KeptPicture
 */

/** @param {any} raw @returns {Talk | null} null where it is none */
export function readTalk(raw) {
  const isWhole =
    raw !== null && typeof raw === "object" && typeof raw.id === "string" && Number.isSafeInteger(raw.revision) &&
    typeof raw.title === "string" && Number.isFinite(raw.created) && Number.isFinite(raw.changed) &&
    typeof raw.model === "string" && (raw.picture === null || typeof raw.picture?.name === "string") &&
    Array.isArray(raw.turns) && raw.turns.every(isTurn);
  return isWhole ? raw : null;
}

/** @param {any} raw @returns {boolean} */
function isTurn(raw) {
  return (
    typeof raw?.question === "string" && Array.isArray(raw.answers) && raw.answers.length > 0 &&
    raw.answers.every(isAnswer) && raw.answers[raw.chosen] !== undefined
  );
}

/** @param {any} raw @returns {boolean} */
function isAnswer(raw) {
  const texts = [raw?.text, raw?.settings, raw?.failure];
  return texts.every((each) => typeof each === "string") && typeof raw.isWhole === "boolean" &&
    Array.isArray(raw.facts) && raw.facts.every((/** @type {unknown} */ fact) => typeof fact === "string");
}

/** Whether each word of `search` stands somewhere in it. @param {Talk} talk @param {string} search */
export function matches(talk, search) {
  const said = talk.turns.flatMap(({ question, answers }) => [question, ...answers.map(({ text }) => text)]);
  const all = plain([talk.title, talk.picture?.name ?? "", ...said].join("\n"));
  return plain(search).split(/\s+/).every((word) => all.includes(word));
}

/** Without case or accents. @param {string} text */
function plain(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLocaleLowerCase();
}
