/** One picture: checked, measured, and made ready to be sent. The file is sent as it is, unless it is too big for the server. */

import { size } from "../format.js";
import { dataUrl, drawn } from "./drawing.js";

/**
 * @typedef {import("../history/record.js").PictureFacts} PictureFacts
 * @typedef {import("../history/record.js").KeptPicture} KeptPicture
 * @typedef {(dataUrl: string) => Promise<{width: number, height: number, image: Blob} | string>} Preview the server's
 *   own picture of what a browser can't show; else why the server can't either, or nothing where it doesn't answer
 * @typedef {Object} Picture
 * @property {string} name
 * @property {string} url what an <img> shows; empty where there is nothing to show
 * @property {number} width 0 where nobody can tell
 * @property {number} height
 * @property {Blob} sent
 * @property {string} dataUrl the same, as it is sent
 * @property {Blob | null} shown null where it is what is sent
 * @property {Blob | null} thumb a stamp of it, for lists
 * @property {string} facts a line below the picture
 */

const TYPES = ["image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff", "image/avif",
  "image/heic", "image/heif"];
const NAMED = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC";
const UNSHOWN = ["image/tiff", "image/heic", "image/heif"]; // the server may read it, most browsers don't
/** Files that some systems have no type for. @type {Record<string, string>} */
const BY_ENDING = { heic: "image/heic", heif: "image/heif", hif: "image/heif", tif: "image/tiff", tiff: "image/tiff",
  avif: "image/avif" };
const MAX_BYTES = 20e6;
const SHRUNK_SIDE = 2048; // far beyond what the model sees
const SHRUNK_QUALITY = 0.92;
const THUMB_SIDE = 112;
const THUMB_QUALITY = 0.8;

export class PictureError extends Error {}

/**
 * @param {Blob} blob @param {string} name @param {Preview} preview
 * @returns {Promise<Picture>} PictureError says in one line what is wrong
 */
export async function readPicture(blob, name, preview) {
  const file = typed(blob, name);
  if (!TYPES.includes(file.type)) throw new PictureError(`${name} is no picture that can be read: choose ${NAMED}.`);
  if (file.size === 0) throw new PictureError(`${name} is empty: choose another file.`);
  const bitmap = await decode(file);
  if (!bitmap) {
    if (!UNSHOWN.includes(file.type)) throw new PictureError(`${name} is damaged, or no picture: choose another file.`);
    return previewed(file, name, preview);
  }
  const { width, height } = bitmap;
  const sent = file.size > MAX_BYTES ? await drawn(bitmap, SHRUNK_SIDE, SHRUNK_QUALITY) : file;
  const thumb = await drawn(bitmap, THUMB_SIDE, THUMB_QUALITY).catch(() => null);
  bitmap.close();
  const bytes = sent === file ? size(file.size) : `${size(file.size)}, sent smaller: ${size(sent.size)}`;
  const facts = [name, `${width} × ${height}`, bytes].join(" · ");
  const url = URL.createObjectURL(sent);
  return { name, url, width, height, sent, dataUrl: await dataUrl(sent), shown: null, thumb, facts };
}

/** @param {PictureFacts} facts @param {KeptPicture} kept @returns {Promise<Picture>} fails where the browser lost it */
export async function restoredPicture(facts, { sent, shown }) {
  const [url, visible] = [await dataUrl(sent), shown ?? sent];
  const bitmap = await decode(visible); // or an <img> would show a broken one
  bitmap?.close();
  return { ...facts, url: bitmap ? URL.createObjectURL(visible) : "", sent, dataUrl: url, shown };
}

/** @param {Blob} file that this browser can't show @param {string} name @param {Preview} preview @returns {Promise<Picture>} */
async function previewed(file, name, preview) {
  if (file.size > MAX_BYTES) {
    throw new PictureError(`${name} has ${size(file.size)}, the limit is ${size(MAX_BYTES)}: make it smaller.`);
  }
  const url = await dataUrl(file);
  const found = await preview(url);
  if (found && typeof found === "string") throw new PictureError(`${name}: ${found}`);
  const facts = [name];
  if (typeof found === "string") {
    facts.push(size(file.size), "this browser can’t show it");
    return { name, url: "", width: 0, height: 0, sent: file, dataUrl: url, shown: null, thumb: null,
      facts: facts.join(" · ") };
  }
  const { width, height, image } = found;
  facts.push(`${width} × ${height}`, size(file.size), "shown as the server reads it");
  const bitmap = await decode(image);
  const thumb = bitmap && (await drawn(bitmap, THUMB_SIDE, THUMB_QUALITY).catch(() => null));
  bitmap?.close();
  return { name, url: URL.createObjectURL(image), width, height, sent: file, dataUrl: url, shown: image, thumb,
    facts: facts.join(" · ") };
}

/** @param {Blob} blob @param {string} name @returns {Blob} */
function typed(blob, name) {
  const type = blob.type || BY_ENDING[name.split(".").at(-1)?.toLowerCase() ?? ""] || "";
  return blob.type === type ? blob : blob.slice(0, blob.size, type);
}

/** Upright, whatever way the camera was held. @param {Blob} blob @returns {Promise<ImageBitmap | null>} */
function decode(blob) {
  return createImageBitmap(blob, { imageOrientation: "from-image" }).catch(() => null);
}
