/** In the sound's own thread: samples, 16 bits each, an eighth of a second at a time. */

const SECONDS = 0.125;

class Recorder extends AudioWorkletProcessor {
  #samples = new Int16Array(Math.round(sampleRate * SECONDS));
  #length = 0;

  /** @param {Float32Array[][]} inputs @returns {boolean} whether there is more to do */
  process([input]) {
    for (const value of input?.[0] ?? []) {
      this.#samples[this.#length++] = Math.max(-1, Math.min(1, value)) * 32767;
      if (this.#length === this.#samples.length) {
        this.port.postMessage(this.#samples.slice());
        this.#length = 0;
      }
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
