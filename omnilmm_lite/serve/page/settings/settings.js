/** How answers are chosen: one way, or two that are compared, and the drawer where they are changed. */

import { find, say } from "../dom.js";
import { kept } from "../store.js";
import { Choice, DRAWN, NUMBERS } from "./choice.js";

/** @typedef {import("../server/api.js").ModelCard} ModelCard */

const COMPARES = "compares";

export class Settings {
  #dialog = find(document, "#settings", HTMLDialogElement);
  #form = find(document, "#settings-form", HTMLFormElement);
  #line = find(document, "#settings-line", HTMLElement);
  #reset = find(document, "#settings-reset", HTMLButtonElement);
  #system = find(document, "#system", HTMLTextAreaElement);
  #compare = find(document, "#compare", HTMLButtonElement);
  #first = new Choice("settings");
  #second = new Choice("settings-b", () => ({ greedy: !this.#first.isGreedy })); // or there were nothing to compare
  #edited = this.#first;
  #compares = kept.read(COMPARES) === true;

  constructor() {
    for (const opener of document.querySelectorAll(".open-settings")) {
      opener.addEventListener("click", () => this.#dialog.showModal());
    }
    find(document, "#settings-close", HTMLButtonElement).addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close(); // beside the drawer
    });
    this.#dialog.addEventListener("close", () => this.#show()); // a number that was refused gives way to the one in use
    this.#form.addEventListener("submit", (event) => event.preventDefault());
    this.#form.addEventListener("input", (event) => this.#take(event));
    this.#reset.addEventListener("click", () => {
      this.#edited.reset();
      this.#show();
    });
    this.#compare.addEventListener("click", () => {
      this.#compares = !this.#compares;
      kept.write(COMPARES, this.#compares || null);
      this.#edited = this.#first;
      if (this.#compares) this.#second.readAgain();
      this.#show();
    });
    this.#show();
  }

  /** @param {ModelCard} card */
  startFrom(card) {
    for (const choice of [this.#first, this.#second]) choice.startFrom(card.sampling);
    const { number, range } = this.#inputs("max_tokens");
    number.max = String(card.context);
    if (range) range.max = number.max;
    this.#show();
  }

  /** One, or two to compare. @returns {Choice[]} */
  get choices() {
    return this.#compares ? [this.#first, this.#second] : [this.#first];
  }

  /** The browser has forgotten what was changed. */
  forget() {
    for (const name of ["settings", "settings-b", COMPARES]) kept.write(name, null);
    this.#compares = false;
    this.#edited = this.#first;
    for (const choice of [this.#first, this.#second]) choice.readAgain();
    this.#show();
  }

  /** @param {string} name @returns {{number: HTMLInputElement, range: HTMLInputElement | null}} */
  #inputs(name) {
    return {
      number: find(this.#form, `input[type=number][name=${name}]`, HTMLInputElement),
      range: this.#form.querySelector(`input[type=range][data-for=${name}]`),
    };
  }

  /** @param {Event} event */
  #take({ target }) {
    if (target === this.#system) {
      this.#edited.change("system", this.#system.value.trim() ? this.#system.value : undefined);
    } else if (!(target instanceof HTMLInputElement)) return;
    else if (target.name === "which") {
      this.#edited = target.value === "b" ? this.#second : this.#first;
      return this.#show();
    } else if (target.type === "radio") this.#edited.change("greedy", target.value === "greedy");
    else if (target.type === "range") this.#edit(String(target.dataset.for), target.value);
    else this.#read(target);
    this.#showState();
  }

  /** @param {string} name @param {string} value from the slider */
  #edit(name, value) {
    const { number } = this.#inputs(name);
    number.value = value;
    this.#read(number);
  }

  /** Takes a number, or says what is wrong with it and keeps the last one. @param {HTMLInputElement} field */
  #read(field) {
    const label = field.labels?.[0]?.firstChild?.textContent?.trim();
    const optional = field.name === "seed";
    const valid = field.validity.valid && (field.value !== "" || optional);
    field.setAttribute("aria-invalid", String(!valid));
    const kind = field.step === "1" ? "a whole number" : "a number";
    const span = field.max ? `from ${field.min} to ${field.max}` : `from ${field.min} on`;
    say(this.#line, valid ? "" : `${label}: give ${kind} ${span}.`);
    if (!valid) return;
    this.#edited.change(field.name, field.value === "" ? undefined : field.valueAsNumber);
    const { range } = this.#inputs(field.name);
    if (range) range.value = field.value;
  }

  #show() {
    for (const name of NUMBERS) {
      const { number, range } = this.#inputs(name);
      number.value = String(this.#edited.value(name) ?? "");
      number.setAttribute("aria-invalid", "false");
      if (range) range.value = number.value;
    }
    this.#system.value = this.#edited.system;
    this.#check(this.#edited.isGreedy ? "greedy" : "sampling");
    this.#check(this.#edited === this.#first ? "a" : "b");
    say(this.#line, "");
    this.#showState();
  }

  /** @param {string} value of a radio button */
  #check(value) {
    find(this.#form, `input[type=radio][value=${value}]`, HTMLInputElement).checked = true;
  }

  #showState() {
    for (const name of DRAWN) {
      const { number, range } = this.#inputs(name);
      number.disabled = this.#edited.isGreedy;
      if (range) range.disabled = this.#edited.isGreedy;
    }
    this.#reset.disabled = !this.#edited.isChanged;
    this.#compare.setAttribute("aria-pressed", String(this.#compares));
    find(document, "#settings-which", HTMLElement).hidden = !this.#compares;
    const summaries = this.choices.map(({ summary }, which) => (this.#compares ? `${"AB"[which]}: ${summary}` : summary));
    find(document, "#settings-summary", HTMLElement).textContent = summaries.join(" · ");
  }
}
