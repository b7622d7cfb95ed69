/** Light or dark: the system's choice until the user makes another. */

import { find } from "./dom.js";
import { kept } from "./store.js";

const KEPT = "theme";
const system = matchMedia("(prefers-color-scheme: dark)");

/** @returns {"light" | "dark"} what is shown */
function shown() {
  const chosen = kept.read(KEPT);
  if (chosen === "light" || chosen === "dark") return chosen;
  return system.matches ? "dark" : "light";
}

function apply() {
  document.documentElement.dataset.theme = shown();
}

/** The button shows the other theme. */
export function wireTheme() {
  const button = find(document, "#theme", HTMLButtonElement);
  button.addEventListener("click", () => {
    const other = shown() === "dark" ? "light" : "dark";
    kept.write(KEPT, other === (system.matches ? "dark" : "light") ? null : other);
    apply();
  });
}

/** The system's choice again. */
export function forgetTheme() {
  kept.write(KEPT, null);
  apply();
}

apply(); // before the first paint: index.html loads this file as render-blocking
system.addEventListener("change", apply);
