/** The menu that saves the conversation as a file. */

import { find } from "../dom.js";
import { html } from "./html.js";
import { json } from "./json.js";
import { markdown } from "./markdown.js";
import { sheetOf } from "./sheet.js";

/** @typedef {import("../chat/conversation.js").Conversation} Conversation */

const FORMS = [
  { id: "export-markdown", ending: "md", type: "text/markdown", write: markdown },
  { id: "export-html", ending: "html", type: "text/html", write: html },
  { id: "export-json", ending: "json", type: "application/json", write: json },
];
const LONGEST_NAME = 48;
const REVOKE_MS = 60_000; // the browser has taken the file by then
const GAP = 4;

/** @param {() => Conversation} shown */
export function wireExport(shown) {
  const button = find(document, "#export", HTMLButtonElement);
  const menu = find(document, "#export-menu", HTMLElement);
  menu.addEventListener("toggle", () => {
    if (menu.matches(":popover-open")) find(menu, "button", HTMLButtonElement).focus();
  });
  menu.addEventListener("beforetoggle", () => {
    const { right, bottom } = button.getBoundingClientRect();
    menu.style.top = `${bottom + GAP}px`;
    menu.style.right = `${document.documentElement.clientWidth - right}px`;
  });
  for (const { id, ending, type, write } of FORMS) {
    find(document, `#${id}`, HTMLButtonElement).addEventListener("click", async () => {
      menu.hidePopover();
      const sheet = await sheetOf(shown());
      download(new Blob([write(sheet)], { type }), `${fileName(sheet.title)}.${ending}`);
    });
  }
}

/** @param {Blob} blob @param {string} name */
function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), REVOKE_MS);
}

/** What every file system takes. @param {string} title @returns {string} */
function fileName(title) {
  const words = title.normalize("NFC").replace(/[^\p{L}\p{N}]+/gu, "-").toLowerCase();
  return words.slice(0, LONGEST_NAME).replace(/^-+|-+$/g, "") || "conversation";
}
