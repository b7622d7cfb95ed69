/** What browsers say where a camera, a screen or a microphone can't be had, as one line for people. */

export const INSECURE =
  "Browsers give cameras and microphones only to pages of this machine or over https: open this page as http\u003a//localhost, or put https before the server.";

/** @param {unknown} error @param {"camera" | "microphone" | "screen"} what @returns {string} */
export function trouble(error, what) {
  const name = error instanceof DOMException ? error.name : "";
  if (what === "screen" && name === "NotAllowedError") return "No screen was chosen.";
  if (name === "NotAllowedError" || name === "SecurityError") {
    return `The browser didn’t allow the ${what}: allow it beside the page’s address, and start again.`;
  }
  if (name === "NotFoundError" || name === "OverconstrainedError") return `There is no ${what} here: connect one, and start again.`;
  if (name === "NotReadableError" || name === "AbortError") return `The ${what} is in use by another program: close that, and start again.`;
  return `The ${what} can’t be used here${name ? ` (${name})` : ""}.`;
}
