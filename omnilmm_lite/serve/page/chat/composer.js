/** Where the question is typed and sent. */

import { find } from "../dom.js";

export class Composer {
  #form = find(document, "#composer", HTMLFormElement);
  #field = find(document, "#question", HTMLTextAreaElement);
  #send = find(document, "#send", HTMLButtonElement);
  #stop = find(document, "#stop", HTMLButtonElement);

  /** @param {(question: string) => void} ask @param {() => void} stop */
  constructor(ask, stop) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const question = this.#field.value.trim();
      if (!question || this.#send.hidden) return;
      this.#field.value = "";
      this.#fit();
      ask(question);
    });
    this.#field.addEventListener("input", () => this.#fit());
    this.#field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#form.requestSubmit();
    });
    this.#stop.addEventListener("click", stop);
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !document.querySelector("dialog[open], :popover-open")) stop();
    });
    this.#fit();
  }

  /** @param {boolean} busy while an answer comes, Stop stands where Send was */
  set busy(busy) {
    const hadFocus = document.activeElement === this.#send || document.activeElement === this.#stop;
    this.#send.hidden = busy;
    this.#stop.hidden = !busy;
    if (hadFocus) this.focus();
  }

  /** A question that was taken back, unless another one is being written. @param {string} question */
  offer(question) {
    if (!this.#field.value.trim()) this.#field.value = question;
    this.#fit();
  }

  /** Not where that would raise a keyboard over the page. */
  focus() {
    if (matchMedia("(hover: hover)").matches) this.#field.focus();
  }

  /** As high as its text, within what the style sheet allows. */
  #fit() {
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
    this.#send.disabled = !this.#field.value.trim();
  }
}
