/** A form's field: its label, its control, what it means, and what is wrong with it. */

import { controlOf } from "./controls.js";
import { element, freshId, prose, set } from "./dom.js";
import { count } from "./format.js";
import { labelOf } from "./query.js";

export class Field {
  #control;
  #wrong;

  /** `about` is the server's description; `options(vocabulary)` gives the names there are. */
  constructor(about, options) {
    this.about = about;
    this.name = about.name;
    this.label = labelOf(about.name);
    const id = freshId(about.name);
    const hintId = `${id}-hint`;
    const wrongId = `${id}-wrong`;
    const attributes = { id, "aria-describedby": `${hintId} ${wrongId}` };
    this.#control = controlOf(about, this.label, attributes, options);
    this.#wrong = element("p", { id: wrongId, class: "wrong" });
    const hint = element("p", { id: hintId, class: "hint" }, prose(hintOf(about)));
    const title = [
      this.label,
      about.required && element("span", { class: "needed" }, " (required)"),
    ];
    const content = [this.#control.node, hint, this.#wrong];
    this.node = this.#control.group
      ? element(
          "fieldset",
          { class: "field", "data-field": this.name },
          element("legend", {}, title),
          content,
        )
      : element(
          "div",
          { class: "field", "data-field": this.name },
          element("label", { for: id }, title),
          content,
        );
  }

  /** What was entered; undefined where nothing was. */
  read() {
    return this.#control.read();
  }

  /** Enters a value; undefined empties the field. */
  write(value) {
    this.#control.write(value);
  }

  /** Shows what is entered where the field is left empty. */
  suggest(values) {
    this.#control.suggest?.(values);
  }

  /** Says what is wrong; nothing is where `reason` is empty. */
  fail(reason) {
    this.#wrong.textContent = reason;
    for (const part of this.#control.parts) set(part, "aria-invalid", reason ? "true" : null);
  }

  focus() {
    this.#control.input.focus();
  }
}

function hintOf(about) {
  const limits = limitsOf(about);
  return [about.about, limits && `${capital(limits)}.`].filter(Boolean).join(" ");
}

function limitsOf(about) {
  const limits = [
    [about.minimum, "at least"],
    [about.exclusive_minimum, "more than"],
    [about.maximum, "at most"],
    [about.exclusive_maximum, "less than"],
  ];
  return limits
    .filter(([bound]) => bound != null)
    .map(([bound, words]) => `${words} ${count(bound)}`)
    .join(", ");
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
