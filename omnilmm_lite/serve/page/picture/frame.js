/** The place where the picture stands: from a file, dropped, or pasted; another one, or none. */

import { find, say } from "../dom.js";
import { PictureError, readPicture } from "./picture.js";

/**
 * @typedef {import("./picture.js").Picture} Picture
 * @typedef {import("./picture.js").Preview} Preview
 * @typedef {Object} Owner whose picture it is
 * @property {(next: string) => Promise<boolean>} mayChange whether the picture may give way to the next one, which is
 *   named; to none where the name is empty
 * @property {(picture: Picture | null) => void} changed
 * @property {Preview} preview
 */

const SQUASHED = 2.5; // the model squashes pictures to a square: beyond this aspect, say so

export class Frame {
  #section = find(document, "#picture", HTMLElement);
  #image = find(document, "#picture-image", HTMLImageElement);
  #facts = find(document, "#picture-facts", HTMLElement);
  #hint = find(document, "#picture-hint", HTMLElement);
  #line = find(document, "#picture-line", HTMLElement);
  #file = find(document, "#file", HTMLInputElement);
  #owner;
  #loads = 0;
  /** @type {Picture | null} */
  #picture = null;

  /** @param {Owner} owner */
  constructor(owner) {
    this.#owner = owner;
    this.#file.addEventListener("change", () => {
      const file = this.#file.files?.[0];
      if (file) this.take(file, file.name);
      this.#file.value = ""; // the same file again is a change, too
    });
    find(document, "#remove", HTMLButtonElement).addEventListener("click", () => this.#remove());
    document.addEventListener("paste", (event) => this.#pasted(event));
    this.#wirePasteButton();
    this.#wireDrop();
  }

  /**
   * A new picture, or a line that says why not; then the old one stays.
   * @param {Blob} blob @param {string} name
   * @param {boolean} [isAsked] whether the conversation that ends by it was given up already
   * @returns {Promise<boolean>} whether it is there
   */
  async take(blob, name, isAsked = false) {
    const load = ++this.#loads;
    try {
      const picture = await readPicture(blob, name, this.#owner.preview);
      if (load !== this.#loads) return false; // a later one was quicker
      if (!isAsked && !(await this.#owner.mayChange(name))) return false;
      if (load !== this.#loads) return false;
      this.show(picture);
      this.#owner.changed(picture);
      return true;
    } catch (error) {
      this.refuse(error instanceof PictureError ? error.message : `${name} can’t be read: choose another file.`);
      return false;
    }
  }

  /** @param {string} line */
  refuse(line) {
    say(this.#line, line);
  }

  /** What belongs to the conversation that is shown. @param {Picture | null} picture */
  show(picture) {
    if (this.#picture?.url && this.#picture !== picture) URL.revokeObjectURL(this.#picture.url);
    this.#loads++; // what is still being read comes too late
    this.#picture = picture;
    say(this.#line, "");
    this.#section.dataset.state = picture ? "picture" : "empty";
    this.#section.dataset.shown = String(Boolean(picture?.url));
    if (picture?.url) this.#image.src = picture.url;
    else this.#image.removeAttribute("src");
    this.#image.alt = picture ? `Your picture, ${picture.name}` : "";
    say(this.#facts, picture?.facts ?? "");
    const aspect = picture?.width ? Math.max(picture.width / picture.height, picture.height / picture.width) : 1;
    say(this.#hint, aspect > SQUASHED ? "The model sees it squashed to a square: crop it to what you ask about." : "");
  }

  async #remove() {
    if (!(await this.#owner.mayChange(""))) return;
    this.show(null);
    this.#owner.changed(null);
    this.#file.focus();
  }

  /** @param {ClipboardEvent} event */
  #pasted(event) {
    const file = [...(event.clipboardData?.files ?? [])][0];
    if (!file || document.querySelector("dialog[open]")) return; // text goes where it is typed
    event.preventDefault();
    this.take(file, file.name || "Pasted picture");
  }

  /** For those without Ctrl-V; where the browser lets a page read pictures from the clipboard. */
  #wirePasteButton() {
    const button = find(document, "#paste", HTMLButtonElement);
    button.hidden = !navigator.clipboard?.read;
    button.addEventListener("click", async () => {
      const items = await navigator.clipboard.read().catch(() => null);
      if (!items) return this.refuse("The browser didn’t let the page read the clipboard: press Ctrl+V instead.");
      for (const item of items) {
        const type = item.types.find((each) => each.startsWith("image/"));
        if (type) {
          this.take(await item.getType(type), "Pasted picture");
          return;
        }
      }
      this.refuse("There is no picture on the clipboard: copy one first.");
    });
  }

  /** A file may be dropped anywhere, so that a near miss doesn't leave the page. */
  #wireDrop() {
    const root = document.documentElement;
    let depth = 0; // every element that is entered and left says so
    const over = (/** @type {number} */ change) => {
      depth = Math.max(0, depth + change);
      root.toggleAttribute("data-dragging", depth > 0);
    };
    root.addEventListener("dragenter", () => over(1));
    root.addEventListener("dragleave", () => over(-1));
    root.addEventListener("dragover", (event) => event.preventDefault());
    root.addEventListener("drop", (event) => {
      event.preventDefault();
      over(-depth);
      const file = event.dataTransfer?.files[0];
      if (file) this.take(file, file.name);
      else this.refuse("Only picture files can be dropped here: save the picture first.");
    });
  }
}
