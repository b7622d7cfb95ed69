/** Elements that must be there. */

/**
 * @template {Element} T
 * @param {ParentNode} root @param {string} selector @param {new () => T} type
 * @returns {T}
 */
export function find(root, selector, type) {
  const element = root.querySelector(selector);
  if (element instanceof type) return element;
  throw new Error(`the page has no ${selector}`);
}

/** The first element of a template, fresh. @param {string} id @returns {HTMLElement} */
export function fromTemplate(id) {
  const template = find(document, `template#${id}`, HTMLTemplateElement);
  const element = template.content.firstElementChild?.cloneNode(true);
  if (element instanceof HTMLElement) return element;
  throw new Error(`template ${id} is empty`);
}

/** One line in its place, or nothing. @param {HTMLElement} element @param {string} line */
export function say(element, line) {
  element.textContent = line;
  element.hidden = line === "";
}
