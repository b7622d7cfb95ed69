/** Answers as sound: the server's own voice, or a voice of this machine by the browser. */

const SENTENCE = /^[^]*?[.!?…。！？]["'”’)]*(?:\s+|(?<=[。！？]))/;

export class Voice {
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {Set<AudioBufferSourceNode>} */
  #playing = new Set();
  #until = 0; // in the context's time: the end of what is there
  #rest = ""; // of an answer: no whole sentence yet
  /** @type {number | null} the question whose answer is said by the browser */
  #question = null;
  #saying = 0;
  isOn = false;

  /** A voice that works without a network. @returns {SpeechSynthesisVoice | null} */
  static own() {
    const voices = (globalThis.speechSynthesis?.getVoices() ?? []).filter((voice) => voice.localService);
    return voices.find((voice) => voice.lang.startsWith("en")) ?? voices[0] ?? null;
  }

  /** While somebody's click is fresh: later browsers keep sound back. */
  open() {
    this.#context ??= new AudioContext();
    this.#context.resume();
  }

  get isSpeaking() {
    return this.#playing.size > 0 || this.#saying > 0;
  }

  /** @param {number} rate @param {string} data 16-bit samples in base64 */
  play(rate, data) {
    if (!this.isOn || !this.#context) return;
    const samples = new Int16Array(Uint8Array.from(atob(data), (character) => character.charCodeAt(0)).buffer);
    const buffer = this.#context.createBuffer(1, samples.length, rate);
    buffer.getChannelData(0).set(Float32Array.from(samples, (sample) => sample / 32768));
    const source = this.#context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.#context.destination);
    source.onended = () => this.#playing.delete(source);
    this.#until = Math.max(this.#until, this.#context.currentTime);
    source.start(this.#until);
    this.#until += buffer.duration;
    this.#playing.add(source);
  }

  /** A piece of an answer, for the browser's voice. @param {number} question @param {string} text */
  say(question, text) {
    if (question !== this.#question) this.#rest = "";
    this.#question = question;
    this.#rest += text;
    for (let found; (found = SENTENCE.exec(this.#rest)); ) {
      this.#rest = this.#rest.slice(found[0].length);
      this.#speak(found[0]);
    }
  }

  /** @param {number} question whose answer is whole @param {boolean} interrupted */
  finish(question, interrupted) {
    if (question !== this.#question) return;
    if (!interrupted) this.#speak(this.#rest);
    this.#rest = "";
  }

  /** At once. */
  hush() {
    for (const source of this.#playing) source.stop();
    this.#playing.clear();
    this.#until = 0;
    this.#rest = "";
    this.#question = null;
    if (this.#saying) speechSynthesis.cancel();
    this.#saying = 0;
  }

  /** @param {string} sentence */
  #speak(sentence) {
    const voice = Voice.own();
    if (!this.isOn || !voice || !sentence.trim()) return;
    const saying = new SpeechSynthesisUtterance(sentence.trim());
    saying.voice = voice;
    saying.lang = voice.lang;
    saying.onend = saying.onerror = () => (this.#saying = Math.max(0, this.#saying - 1));
    this.#saying += 1;
    speechSynthesis.speak(saying);
  }
}
