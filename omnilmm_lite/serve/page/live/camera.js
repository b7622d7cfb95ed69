/** The camera or the screen: what it shows, and its newest picture to whoever can take it. */

import { jpeg } from "../picture/drawing.js";
import { INSECURE, trouble } from "./troubles.js";

const SIDE = 640; // pixels of a frame's longer side
const QUALITY = 0.85;
const LEAST_MS = 200; // between two frames: five a second

export class Camera {
  #video;
  #take;
  #ended;
  #canvas = document.createElement("canvas");
  /** @type {MediaStream | null} */
  #stream = null;
  isPaused = false;

  /**
   * @param {HTMLVideoElement} video @param {(frame: Blob) => Promise<void>} take one at a time: what comes meanwhile is never seen
   * @param {() => void} ended where the camera was pulled out, or the screen isn't shared any more
   */
  constructor(video, take, ended) {
    this.#video = video;
    this.#take = take;
    this.#ended = ended;
  }

  /** @param {"camera" | "screen"} source @returns {Promise<string>} a sentence where there is none */
  async open(source) {
    const devices = navigator.mediaDevices;
    if (!devices) return INSECURE;
    if (source === "screen" && !devices.getDisplayMedia) return "This browser can’t share a screen: use the camera.";
    try {
      const stream = await (source === "screen"
        ? devices.getDisplayMedia({ video: { frameRate: 5 }, audio: false })
        : devices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } } }));
      this.#stream = stream;
      stream.getVideoTracks()[0]?.addEventListener("ended", () => this.#stream === stream && this.#ended());
      this.#video.srcObject = stream;
      await this.#video.play();
      this.#run(stream);
      return "";
    } catch (error) {
      this.close();
      return trouble(error, source);
    }
  }

  close() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    this.#video.srcObject = null;
  }

  /** @param {MediaStream} stream */
  async #run(stream) {
    while (this.#stream === stream) {
      const began = performance.now();
      const frame = this.isPaused ? null : await this.#shot();
      if (frame && this.#stream === stream && !this.isPaused) await this.#take(frame);
      const left = LEAST_MS - (performance.now() - began);
      await new Promise((resolve) => setTimeout(resolve, Math.max(left, 0)));
    }
  }

  /** @returns {Promise<Blob | null>} */
  async #shot() {
    const { videoWidth: width, videoHeight: height } = this.#video;
    if (!width || !height) return null;
    const scale = Math.min(1, SIDE / Math.max(width, height));
    this.#canvas.width = Math.max(1, Math.round(width * scale));
    this.#canvas.height = Math.max(1, Math.round(height * scale));
    this.#canvas.getContext("2d")?.drawImage(this.#video, 0, 0, this.#canvas.width, this.#canvas.height);
    return jpeg(this.#canvas, QUALITY);
  }
}
