/** A conversation as Markdown, with its picture in the file. What was said stays text. */

import { answersOf } from "./sheet.js";

/** @typedef {import("./sheet.js").Sheet} Sheet */

/** @param {Sheet} sheet @returns {string} */
export function markdown({ title, model, date, picture, turns }) {
  const parts = [`# ${escape(title.replace(/\s+/g, " "))}`, escape([model, date].filter(Boolean).join(", "))];
  if (picture) parts.push(`![${escape(picture.name)}](${picture.shownUrl})`);
  for (const turn of turns) {
    parts.push(`## ${escape(turn.question.replace(/\s+/g, " ").trim())}`);
    for (const answer of answersOf(turn)) {
      if (turn.answers.length > 1) parts.push(`*${escape(answer.settings)}:*`);
      parts.push(lines(answer.text) || "*No answer.*");
    }
  }
  return `${parts.join("\n\n")}\n`;
}

/** @param {string} text */
function lines(text) {
  return escape(text.trim()).replace(/\n/g, "\\\n").replace(/(\\\n)(\\\n)+/g, "\n\n");
}

/** Nothing of it is markup; spaces in front of a line would be. @param {string} text */
function escape(text) {
  return text
    .replace(/[\\`*_{}[\]<>()#|~&!]/g, "\\$&")
    .replace(/^[ \t]+/gm, (space) => "&nbsp;".repeat(space.replaceAll("\t", "    ").length))
    .replace(/^((?:&nbsp;)*)([-+=]|\d+(?=[.)]))/gm, (_, space, mark) => `${space}${/\d/.test(mark) ? `${mark}\\` : `\\${mark}`}`);
}
