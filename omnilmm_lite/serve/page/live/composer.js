/** Where a question is typed, or said while a button is held. */

import { find } from "../dom.js";

/** @typedef {{ask: (text: string) => void, hush: () => void, talk: (held: boolean) => Promise<boolean>}} Wiring */

export class Composer {
  #form = find(document, "#composer", HTMLFormElement);
  #field = find(document, "#question", HTMLTextAreaElement);
  #send = find(document, "#send", HTMLButtonElement);
  #hush = find(document, "#hush", HTMLButtonElement);
  #talk = find(document, "#talk", HTMLButtonElement);
  #isDown = false;
  #wiring;

  /** @param {Wiring} wiring */
  constructor(wiring) {
    this.#wiring = wiring;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.#field.value.trim();
      if (!text) return;
      this.#field.value = "";
      this.#fit();
      wiring.ask(text);
    });
    this.#field.addEventListener("input", () => this.#fit());
    this.#field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#form.requestSubmit();
    });
    this.#hush.addEventListener("click", wiring.hush);
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !document.querySelector("dialog[open]")) wiring.hush();
    });
    this.#wireTalk();
    this.#fit();
  }

  /** @param {boolean} can whether somebody would hear it */
  set canTalk(can) {
    this.#talk.hidden = !can;
  }

  /** @param {boolean} can while there is a session */
  set canHush(can) {
    this.#hush.disabled = !can;
  }

  #wireTalk() {
    const button = this.#talk;
    button.addEventListener("pointerdown", (event) => {
      button.setPointerCapture(event.pointerId);
      this.#hold(true);
    });
    for (const name of ["pointerup", "pointercancel", "blur"]) button.addEventListener(name, () => this.#hold(false));
    button.addEventListener("keydown", (event) => {
      if (event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      if (!event.repeat) this.#hold(true);
    });
    button.addEventListener("keyup", () => this.#hold(false));
    button.addEventListener("contextmenu", (event) => event.preventDefault()); // of a long touch
  }

  /** @param {boolean} down */
  async #hold(down) {
    if (this.#isDown === down) return;
    this.#isDown = down;
    const hears = await this.#wiring.talk(down);
    if (hears && !this.#isDown) await this.#wiring.talk(false); // let go of while the browser asked
    this.#talk.setAttribute("aria-pressed", String(hears && this.#isDown));
    this.#field.placeholder = hears && this.#isDown ? "Listening: speak now, let go to ask" : "Ask about what is seen";
  }

  #fit() {
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
    this.#send.disabled = !this.#field.value.trim();
  }
}
