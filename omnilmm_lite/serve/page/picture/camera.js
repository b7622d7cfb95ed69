/** A picture from the camera, where there is one. */

import { find, say } from "../dom.js";
import { jpeg } from "./drawing.js";

const QUALITY = 0.95;

export class Camera {
  #dialog = find(document, "#camera", HTMLDialogElement);
  #video = find(document, "#camera-video", HTMLVideoElement);
  #line = find(document, "#camera-line", HTMLElement);
  #shoot = find(document, "#shoot", HTMLButtonElement);
  #taken;
  /** @type {MediaStream | null} */
  #stream = null;

  /** @param {(blob: Blob, name: string) => void} taken */
  constructor(taken) {
    this.#taken = taken;
    const open = find(document, "#open-camera", HTMLButtonElement);
    open.hidden = !navigator.mediaDevices?.getUserMedia; // browsers hide it from pages that are neither local nor https
    open.addEventListener("click", () => this.#open());
    this.#shoot.addEventListener("click", () => this.#take());
    this.#dialog.addEventListener("close", () => this.#close());
  }

  async #open() {
    say(this.#line, "");
    this.#shoot.disabled = true;
    this.#dialog.showModal();
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      this.#stream = stream;
      if (!this.#dialog.open) return this.#close(); // closed while the browser asked for permission
      this.#video.srcObject = stream;
      await this.#video.play();
      this.#shoot.disabled = false;
      this.#shoot.focus();
    } catch (error) {
      const denied = error instanceof DOMException && error.name === "NotAllowedError";
      say(this.#line, denied ? "The browser didn’t allow the camera." : "No camera can be used here.");
    }
  }

  async #take() {
    const canvas = document.createElement("canvas");
    canvas.width = this.#video.videoWidth;
    canvas.height = this.#video.videoHeight;
    canvas.getContext("2d")?.drawImage(this.#video, 0, 0);
    this.#dialog.close();
    this.#taken(await jpeg(canvas, QUALITY), "Camera picture");
  }

  #close() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    this.#video.srcObject = null;
  }
}
