/** How answers are chosen: the model's defaults, and over them what the user has changed, which the browser keeps. */

import { find, say } from "./dom.js";
import { kept } from "./store.js";

/**
 * @typedef {import("./api.js").ModelCard} ModelCard
 * @typedef {{greedy?: boolean, system?: string} & {[name: string]: number | boolean | string | undefined}} Changes
 */

const KEPT = "settings";
const DRAWN = ["temperature", "top_p", "top_k", "min_p", "seed"]; // of no use where nothing is drawn
const NUMBERS = [...DRAWN, "repetition_penalty", "max_tokens"];

export class Settings {
  #dialog = find(document, "#settings", HTMLDialogElement);
  #form = find(document, "#settings-form", HTMLFormElement);
  #line = find(document, "#settings-line", HTMLElement);
  #reset = find(document, "#settings-reset", HTMLButtonElement);
  #system = find(document, "#system", HTMLTextAreaElement);
  /** @type {Changes} */
  #changes = kept.read(KEPT) ?? {};
  /** @type {Record<string, number | null>} */
  #defaults = {};

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
    this.#form.addEventListener("input", (event) => this.#edited(event));
    this.#reset.addEventListener("click", () => {
      this.#changes = {};
      this.#keep();
      this.#show();
    });
    this.#show();
  }

  /** @param {ModelCard} card */
  startFrom(card) {
    this.#defaults = card.sampling;
    const { number, range } = this.#inputs("max_tokens");
    number.max = String(card.context);
    if (range) range.max = number.max;
    this.#show();
  }

  /** @returns {string} empty leaves the model's own */
  get system() {
    return String(this.#changes.system ?? "");
  }

  /** What a request says about sampling. @returns {Record<string, number>} */
  request() {
    /** @type {Record<string, number>} */
    const request = {};
    for (const name of NUMBERS) {
      const value = this.#value(name);
      if (value !== null && !(this.#greedy && DRAWN.includes(name))) request[name] = value;
    }
    if (this.#greedy) request.temperature = 0;
    return request;
  }

  get #greedy() {
    return Boolean(this.#changes.greedy ?? this.#defaults.temperature === 0);
  }

  /** @param {string} name @returns {number | null} null where it is left to the server */
  #value(name) {
    const changed = this.#changes[name];
    return typeof changed === "number" ? changed : (this.#defaults[name] ?? null);
  }

  /** @param {string} name @returns {{number: HTMLInputElement, range: HTMLInputElement | null}} */
  #inputs(name) {
    return {
      number: find(this.#form, `input[type=number][name=${name}]`, HTMLInputElement),
      range: this.#form.querySelector(`input[type=range][data-for=${name}]`),
    };
  }

  /** @param {Event} event */
  #edited({ target }) {
    if (target === this.#system) this.#change("system", this.#system.value.trim() ? this.#system.value : undefined);
    else if (!(target instanceof HTMLInputElement)) return;
    else if (target.type === "radio") this.#change("greedy", target.value === "greedy");
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
    this.#change(field.name, field.value === "" ? undefined : field.valueAsNumber);
    const { range } = this.#inputs(field.name);
    if (range) range.value = field.value;
  }

  /** @param {string} name @param {number | boolean | string | undefined} value */
  #change(name, value) {
    this.#changes[name] = value; // JSON leaves out what is undefined
    this.#keep();
  }

  #keep() {
    kept.write(KEPT, Object.values(this.#changes).some((value) => value !== undefined) ? this.#changes : null);
  }

  #show() {
    for (const name of NUMBERS) {
      const { number, range } = this.#inputs(name);
      number.value = String(this.#value(name) ?? "");
      number.setAttribute("aria-invalid", "false");
      if (range) range.value = number.value;
    }
    this.#system.value = this.system;
    find(this.#form, `input[value=${this.#greedy ? "greedy" : "sampling"}]`, HTMLInputElement).checked = true;
    say(this.#line, "");
    this.#showState();
  }

  #showState() {
    for (const name of DRAWN) {
      const { number, range } = this.#inputs(name);
      number.disabled = this.#greedy;
      if (range) range.disabled = this.#greedy;
    }
    this.#reset.disabled = Object.values(this.#changes).every((value) => value === undefined);
    const temperature = this.#value("temperature");
    const parts = [this.#greedy ? "Greedy" : "Sampling"];
    if (!this.#greedy && temperature !== null) parts.push(`temperature ${temperature}`);
    if (this.system) parts.push("own system text");
    find(document, "#settings-summary", HTMLElement).textContent = parts.join(", ");
  }
}
