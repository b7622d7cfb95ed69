/** The one line that says how it goes: frames a second, what became of them, and how long each stage takes. */

import { find } from "../dom.js";
import { duration } from "../format.js";

/** @typedef {{fps: number, captured: number, described: number, unchanged: number, dropped: number,
 *   waiting_questions: number, latencies: {stage: string, last_s: number, p95_s: number}[]}} LiveStatus */

const STAGES = /** @type {Record<string, string>} */ ({ describe: "description", answer: "first word", listen: "hearing", speak: "first sound" });

export class Meter {
  #line = find(document, "#meter", HTMLElement);

  /** @param {LiveStatus} status */
  show({ fps, described, unchanged, dropped, waiting_questions, latencies }) {
    const parts = [`${fps.toFixed(1)} frames/s`, `${described} described`, `${unchanged} unchanged`, `${dropped} dropped`];
    if (waiting_questions) parts.push(`${waiting_questions} asked`);
    for (const { stage, last_s } of latencies) if (stage in STAGES) parts.push(`${STAGES[stage]} ${duration(last_s)}`);
    this.#line.replaceChildren(...parts.map((part) => Object.assign(document.createElement("span"), { textContent: part })));
    this.#line.title = latencies.map(({ stage, last_s, p95_s }) => `${stage}: ${duration(last_s)}, 95 of 100 within ${duration(p95_s)}`).join("\n");
    this.#line.hidden = false;
  }
}
