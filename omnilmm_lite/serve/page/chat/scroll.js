/** Keeps the log's end in sight while somebody looks there. */

const AT_END_PX = 60; // so near to its end, the log follows the answer

export class Scroll {
  #log;

  /** @param {HTMLElement} log */
  constructor(log) {
    this.#log = log;
  }

  toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /** Stays at the end if it was there. @param {() => void} change */
  following(change) {
    const scroller = this.#scroller;
    const wasAtEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < AT_END_PX;
    change();
    if (wasAtEnd) this.toEnd();
  }

  /** The log, or on a narrow screen the whole page, which ends with the log. @returns {Element} */
  get #scroller() {
    return getComputedStyle(this.#log).overflowY === "auto" ? this.#log : document.documentElement;
  }
}
