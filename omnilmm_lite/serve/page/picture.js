/** One picture: checked, measured, and made ready to be sent. The file is sent as it is, unless it is too big for the server. */

import { size } from "./format.js";

/**
 * @typedef {Object} Picture
 * @property {string} name
 * @property {string} url what an <img> shows; empty where this browser can't show the format
 * @property {number} width 0 where the browser can't tell
 * @property {number} height
 * @property {string} dataUrl what is sent
 * @property {string} facts a line below the picture
 */

const TYPES = ["image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff", "image/avif"];
const NAMED = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF";
const UNSHOWN = "image/tiff"; // the server reads it, most browsers don't
const MAX_BYTES = 20e6;
const SHRUNK_SIDE = 2048; // far beyond what the model sees
const SHRUNK_QUALITY = 0.92;

export class PictureError extends Error {}

/**
 * @param {Blob} blob @param {string} name
 * @returns {Promise<Picture>} PictureError says in one line what is wrong
 */
export async function readPicture(blob, name) {
  if (!TYPES.includes(blob.type)) throw new PictureError(`${name} is no picture that can be read: choose ${NAMED}.`);
  if (blob.size === 0) throw new PictureError(`${name} is empty: choose another file.`);
  const bitmap = await decode(blob);
  if (!bitmap && blob.type !== UNSHOWN) throw new PictureError(`${name} is damaged, or no picture: choose another file.`);
  if (!bitmap && blob.size > MAX_BYTES) {
    throw new PictureError(`${name} has ${size(blob.size)}, the limit is ${size(MAX_BYTES)}: make it smaller.`);
  }
  const sent = bitmap && blob.size > MAX_BYTES ? await shrink(bitmap) : blob;
  const { width, height } = bitmap ?? { width: 0, height: 0 };
  bitmap?.close();
  const facts = [name];
  if (width) facts.push(`${width} × ${height}`);
  facts.push(sent === blob ? size(blob.size) : `${size(blob.size)}, sent smaller: ${size(sent.size)}`);
  if (!bitmap) facts.push("this browser can’t show it, the model can");
  return {
    name,
    url: bitmap ? URL.createObjectURL(blob) : "",
    width,
    height,
    dataUrl: await dataUrl(sent),
    facts: facts.join(" · "),
  };
}

/** Upright, whatever way the camera was held. @param {Blob} blob @returns {Promise<ImageBitmap | null>} */
function decode(blob) {
  return createImageBitmap(blob, { imageOrientation: "from-image" }).catch(() => null);
}

/** @param {ImageBitmap} bitmap @returns {Promise<Blob>} */
function shrink(bitmap) {
  const scale = Math.min(1, SHRUNK_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  if (!context) throw new PictureError("This browser can’t make the picture smaller: choose a smaller one.");
  context.fillStyle = "white"; // what the server puts behind transparency
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return jpeg(canvas, SHRUNK_QUALITY);
}

/** @param {HTMLCanvasElement} canvas @param {number} quality @returns {Promise<Blob>} */
export function jpeg(canvas, quality) {
  return new Promise((resolve, reject) => {
    const failed = new PictureError("This browser can’t save the picture: choose a file instead.");
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(failed)), "image/jpeg", quality);
  });
}

/** @param {Blob} blob @returns {Promise<string>} */
function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(/** @type {string} */ (reader.result));
    reader.onerror = () => reject(new PictureError("The file can’t be read any more: choose it again."));
    reader.readAsDataURL(blob);
  });
}
