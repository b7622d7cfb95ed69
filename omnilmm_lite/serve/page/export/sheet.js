/** What an export holds: the conversation as plain data, its picture as addresses of data. */

import { dataUrl } from "../picture/drawing.js";

/**
 * @typedef {import("../chat/conversation.js").Conversation} Conversation
 * @typedef {import("../chat/conversation.js").Turn} Turn
 * @typedef {Object} Sheet
 * @property {string} title
 * @property {string} model
 * @property {string} date of its beginning, as YYYY-MM-DD
 * @property {{name: string, width: number, height: number, url: string, shownUrl: string} | null} picture `url`: what the
 *   model was sent; `shownUrl`: what browsers show, which may be another format
 * @property {Turn[]} turns
 */

/** @param {Conversation} conversation @returns {Promise<Sheet>} */
export async function sheetOf({ title, model, created, picture, turns }) {
  const date = new Date(created);
  const day = [date.getFullYear(), date.getMonth() + 1, date.getDate()].map((part) => String(part).padStart(2, "0"));
  return {
    title,
    model,
    date: day.join("-"),
    picture: picture && {
      name: picture.name,
      width: picture.width,
      height: picture.height,
      url: picture.dataUrl,
      shownUrl: picture.shown ? await dataUrl(picture.shown) : picture.dataUrl,
    },
    turns: structuredClone(turns),
  };
}

/** The answers of a turn, the one that the conversation went on from first. @param {Turn} turn */
export function answersOf({ answers, chosen }) {
  return [answers[chosen], ...answers.filter((_, which) => which !== chosen)];
}
