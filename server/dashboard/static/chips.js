/** A field for several names: those chosen, each with a button that takes it out, and a search. */

import { Combobox } from "./combobox.js";
import { button, element, say } from "./dom.js";

export class Chips {
  #chosen = [];
  #list;
  #combobox;

  /** As for `Combobox`. */
  constructor({ options, label, ...attributes }) {
    this.#list = element("ul", { class: "chips", "aria-label": `${label}: chosen` });
    this.#combobox = new Combobox({
      options: () => options().filter((each) => !this.#chosen.includes(each.value)),
      onchoose: (value) => value && this.#add(value),
      label,
      placeholder: "Add …",
      ...attributes,
    });
    this.input = this.#combobox.input;
    this.input.addEventListener("keydown", (event) => this.#onKey(event));
    this.node = element("div", { class: "many" }, this.#list, this.#combobox.node);
    this.#draw();
  }

  /** The names chosen, with what stands in the field and was not chosen yet. */
  get value() {
    const typed = this.#combobox.value;
    return typed ? [...this.#chosen, typed] : [...this.#chosen];
  }

  set value(names) {
    this.#chosen = [...new Set(names)];
    this.#combobox.value = "";
    this.#draw();
  }

  #add(name) {
    this.value = [...this.#chosen, name];
    say(`${name} added`);
  }

  #remove(name) {
    this.#chosen = this.#chosen.filter((each) => each !== name);
    this.#draw();
    say(`${name} removed`);
    this.input.focus();
    this.node.dispatchEvent(new Event("change", { bubbles: true }));
  }

  #onKey(event) {
    if (event.key === "Backspace" && !this.input.value && this.#chosen.length) {
      this.#remove(this.#chosen.at(-1));
    }
  }

  #draw() {
    this.#list.replaceChildren(
      ...this.#chosen.map((name) =>
        element(
          "li",
          {},
          element("span", {}, name),
          button("×", () => this.#remove(name), { "aria-label": `Remove ${name}` }),
        ),
      ),
    );
    this.#list.hidden = this.#chosen.length === 0;
  }
}
