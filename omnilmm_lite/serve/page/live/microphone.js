/** The microphone: sound for the server's ears, while somebody holds the button or always. */

import { INSECURE, trouble } from "./troubles.js";

const RATE = 16_000; // Hz, which ears take
const MOST_WAITING = 80; // pieces of an eighth of a second

/** @typedef {Int16Array<ArrayBuffer>} Pcm */

export class Microphone {
  #send;
  #mayHear;
  /** @type {{stream: MediaStream, context: AudioContext, cancelsEcho: boolean} | null} */
  #open = null;
  /** @type {Promise<string> | null} while the browser asks */
  #opening = null;
  /** @type {Pcm[]} */
  #waiting = [];
  #ends = false;
  #isSending = false;
  #isHeld = false;
  isAlways = false;
  isPaused = false;

  /**
   * @param {(pcm: Pcm, rate: number, ends: boolean) => Promise<void>} send one at a time
   * @param {(cancelsEcho: boolean) => boolean} mayHear false while the page speaks and would hear itself
   */
  constructor(send, mayHear) {
    this.#send = send;
    this.#mayHear = mayHear;
  }

  /** Once, however often it is called meanwhile. @returns {Promise<string>} a sentence where there is none */
  open() {
    this.#opening ??= this.#tryToOpen().finally(() => (this.#opening = null));
    return this.#opening;
  }

  async #tryToOpen() {
    if (this.#open) return "";
    if (!navigator.mediaDevices) return INSECURE;
    try {
      const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
      const stream = await navigator.mediaDevices.getUserMedia({ audio });
      const context = await listening(stream, (pcm) => this.#take(pcm));
      const { echoCancellation } = stream.getAudioTracks()[0]?.getSettings() ?? {};
      this.#open = { stream, context, cancelsEcho: echoCancellation === true };
      return "";
    } catch (error) {
      return trouble(error, "microphone");
    }
  }

  close() {
    for (const track of this.#open?.stream.getTracks() ?? []) track.stop();
    this.#open?.context.close();
    this.#open = null;
    this.#waiting = [];
    this.#isHeld = false;
  }

  get isHeld() {
    return this.#isHeld;
  }

  /** @param {boolean} held the button that one talks with */
  set isHeld(held) {
    if (this.#isHeld && !held) {
      this.#ends = true;
      this.#flush();
    }
    this.#isHeld = held;
  }

  /** @param {Pcm} pcm */
  #take(pcm) {
    if (!this.#open) return;
    const hears = this.isAlways && !this.isPaused && this.#mayHear(this.#open.cancelsEcho);
    if (!this.#isHeld && !hears) return;
    this.#waiting.push(pcm);
    if (this.#waiting.length > MOST_WAITING) this.#waiting.shift();
    this.#flush();
  }

  async #flush() {
    if (this.#isSending || !this.#open) return;
    this.#isSending = true;
    while (this.#open && (this.#waiting.length || this.#ends)) {
      const [pcm, ends] = [joined(this.#waiting), this.#ends];
      this.#waiting = [];
      this.#ends = false;
      await this.#send(pcm, this.#open.context.sampleRate, ends);
    }
    this.#isSending = false;
  }
}

/** @param {MediaStream} stream @param {(pcm: Pcm) => void} take @returns {Promise<AudioContext>} */
async function listening(stream, take) {
  try {
    return await connected(new AudioContext({ sampleRate: RATE }), stream, take);
  } catch {
    return connected(new AudioContext(), stream, take); // browsers that don't resample: the server does
  }
}

/** @param {AudioContext} context @param {MediaStream} stream @param {(pcm: Pcm) => void} take */
async function connected(context, stream, take) {
  await context.audioWorklet.addModule(new URL("recorder.js", import.meta.url));
  const recorder = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
  recorder.port.onmessage = ({ data }) => take(data);
  context.createMediaStreamSource(stream).connect(recorder);
  await context.resume();
  return context;
}

/** @param {Pcm[]} parts @returns {Pcm} */
function joined(parts) {
  const whole = new Int16Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
