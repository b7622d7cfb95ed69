/** The browser's own recognition of speech, where it runs on this machine: one that sends sound away is never used. */

const LANGUAGE = "en-US";

/** @returns {Promise<boolean>} whether there is one */
export async function hasOwnEars() {
  const Recognition = /** @type {any} */ (globalThis).SpeechRecognition;
  if (typeof Recognition?.available !== "function") return false; // then nobody says where it would run
  try {
    return (await Recognition.available({ langs: [LANGUAGE], processLocally: true })) === "available";
  } catch {
    return false;
  }
}

export class OwnEars {
  #heard;
  /** @type {any} */
  #recognition = null;

  /** @param {(text: string) => void} heard */
  constructor(heard) {
    this.#heard = heard;
  }

  /** @param {boolean} listens */
  set isListening(listens) {
    if (!listens) {
      const ending = this.#recognition;
      this.#recognition = null;
      ending?.stop(); // what was said is still told
    } else if (!this.#recognition) this.#start();
  }

  #start() {
    const recognition = new (/** @type {any} */ (globalThis).SpeechRecognition)();
    recognition.lang = LANGUAGE;
    recognition.processLocally = true;
    recognition.continuous = true;
    recognition.onresult = (/** @type {any} */ { results, resultIndex }) => {
      for (const result of [...results].slice(resultIndex)) {
        if (result.isFinal && result[0].transcript.trim()) this.#heard(result[0].transcript.trim());
      }
    };
    recognition.onend = () => {
      if (this.#recognition === recognition) recognition.start(); // it ends by itself after a silence
    };
    recognition.onerror = (/** @type {any} */ { error }) => {
      if (error !== "no-speech" && this.#recognition === recognition) this.#recognition = null;
    };
    this.#recognition = recognition;
    recognition.start();
  }
}
