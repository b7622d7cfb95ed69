/** Pictures that the page draws itself, and files as addresses. */

/**
 * A JPEG of it, no side longer than `side`, on white, which is what the server puts behind transparency.
 * @param {ImageBitmap} bitmap @param {number} side @param {number} quality @returns {Promise<Blob>}
 */
export async function drawn(bitmap, side, quality) {
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  if (!context) throw new Error("This browser can’t make the picture smaller: choose a smaller one.");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return jpeg(canvas, quality);
}

/** @param {HTMLCanvasElement} canvas @param {number} quality @returns {Promise<Blob>} */
export function jpeg(canvas, quality) {
  return new Promise((resolve, reject) => {
    const failed = new Error("This browser can’t save the picture: choose a file instead.");
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(failed)), "image/jpeg", quality);
  });
}

/** @param {Blob} blob @returns {Promise<string>} */
export function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(/** @type {string} */ (reader.result));
    reader.onerror = () => reject(new Error("The file can’t be read any more: choose it again."));
    reader.readAsDataURL(blob);
  });
}
