/** Making elements. Text that goes in is text, never HTML. */

/**
 * A new element. Attributes named `on...` are listeners; `true` sets an attribute without a
 * value, and `null`, `undefined` and `false` leave an attribute or a child out.
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) set(made, name, value);
  made.append(...children.flat().filter((child) => child != null && child !== false));
  return made;
}

/** Sets one attribute or listener, or takes the attribute away. */
export function set(target, name, value) {
  if (name.startsWith("on")) target.addEventListener(name.slice(2), value);
  else if (value == null || value === false) target.removeAttribute(name);
  else target.setAttribute(name, value === true ? "" : value);
}

/** A button that does `onclick` and submits nothing. */
export function button(text, onclick, attributes = {}) {
  return element("button", { type: "button", onclick, ...attributes }, text);
}

/** What stands between backquotes in a sentence, as code. */
export function prose(text) {
  return text.split("`").map((part, place) => (place % 2 ? element("code", {}, part) : part));
}

/** A list of terms and what each is; rows without a value are left out. */
export function terms(rows, attributes = {}) {
  const present = rows.filter(([, value]) => value != null && value !== "");
  return element(
    "dl",
    attributes,
    present.map(([term, value]) =>
      element("div", {}, element("dt", {}, term), element("dd", {}, value)),
    ),
  );
}

/** An SVG element with attributes. */
export function drawn(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) set(made, name, value);
  made.append(...children);
  return made;
}

let counted = 0;

/** An id that no other element of the page has. */
export function freshId(prefix) {
  counted += 1;
  return `${prefix}-${counted}`;
}

/** Tells those who listen to the page rather than see it. */
export function say(text) {
  document.getElementById("spoken").textContent = text;
}
