/** Pictures with a question to each: one click asks it. */

import { find, fromTemplate } from "../dom.js";

const EXAMPLES = [
  { file: "cat.png", name: "Cat", question: "What is this?" },
  { file: "easy-vqa-teal-circle.png", name: "Teal circle", question: "What color is the shape?" },
  { file: "guitar-and-fire-truck.png", name: "Guitar and fire truck", question: "Is there a guitar?" },
  { file: "owl-on-a-photo.jpg", name: "Owl", question: "What do you see?" },
];

/** @param {(blob: Blob, name: string, question: string) => void} chosen @param {(line: string) => void} failed */
export function wireExamples(chosen, failed) {
  const list = find(document, "#examples-list", HTMLElement);
  for (const { file, name, question } of EXAMPLES) {
    const address = new URL(`../examples/${file}`, import.meta.url);
    const item = fromTemplate("example-template");
    const image = find(item, "img", HTMLImageElement);
    image.src = address.href;
    find(item, "span", HTMLElement).textContent = question;
    const button = find(item, "button", HTMLButtonElement);
    button.setAttribute("aria-label", `${name}: ${question}`);
    button.addEventListener("click", async () => {
      const response = await fetch(address).catch(() => null);
      if (response?.ok) chosen(await response.blob(), file, question);
      else failed("The example can’t be loaded: the server doesn’t answer.");
    });
    list.append(item);
  }
}
