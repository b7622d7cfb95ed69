/** A conversation as a page of its own: one file that loads nothing and runs nothing. What was said stays text. */

import { answersOf } from "./sheet.js";

/** @typedef {import("./sheet.js").Sheet} Sheet */

const POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";
const STYLE = `
:root { color-scheme: light dark; }
body { max-width: 720px; margin: 0 auto; padding: 32px 20px; font: 16px/1.6 system-ui, sans-serif;
  background: light-dark(#f4f4f1, #111315); color: light-dark(#1b1d20, #e8eaec); overflow-wrap: anywhere; }
h1 { font-size: 24px; line-height: 1.3; margin: 0; }
h2 { font-size: 16px; line-height: 1.5; margin: 28px 0 8px; padding: 8px 14px; border-radius: 12px; white-space: pre-wrap;
  background: light-dark(#e2f1ee, #1a3732); color: light-dark(#0f332e, #d7f4ee); }
p { margin: 0 0 8px; white-space: pre-wrap; }
.facts { color: light-dark(#585e67, #a3a9b2); font-size: 13px; }
img { display: block; max-width: 100%; max-height: 70vh; margin: 20px 0 4px; border-radius: 12px; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(240px, 1fr)); gap: 20px; }
`;

/** @param {Sheet} sheet @returns {string} */
export function html({ title, model, date, picture, turns }) {
  const said = turns.map((turn) => {
    const columns = answersOf(turn).map(({ text, settings }) => {
      const heading = turn.answers.length > 1 ? `<p class="facts">${escape(settings)}</p>` : "";
      return `<div>${heading}<p>${escape(text) || "<i>No answer.</i>"}</p></div>`;
    });
    return `<h2>${escape(turn.question)}</h2>\n<div class="columns">${columns.join("\n")}</div>`;
  });
  const figure = picture
    ? `<img alt="${escape(picture.name)}" src="${escape(picture.shownUrl)}"><p class="facts">${escape(picture.name)}</p>`
    : "";
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<style>${STYLE}</style>
<h1>${escape(title)}</h1>
<p class="facts">${escape([model, date].filter(Boolean).join(", "))}</p>
${figure}
${said.join("\n")}
</html>
`;
}

/** @param {string} text */
function escape(text) {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
