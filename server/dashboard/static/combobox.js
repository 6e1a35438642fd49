/** A text field that suggests what can be chosen: the ARIA pattern "combobox with a listbox". */

import { element, freshId, say, set } from "./dom.js";
import { plural } from "./format.js";

const MOST_SHOWN = 200;

/**
 * `options()` gives what can be chosen now, each as `{value, about}`; `onchoose(value)` hears
 * of each choice. Attributes go to the input.
 */
export class Combobox {
  #options;
  #onchoose;
  #listbox;
  #shown = [];
  #active = -1;

  constructor({ options, onchoose = () => {}, label, ...attributes }) {
    this.#options = options;
    this.#onchoose = onchoose;
    const listId = freshId("list");
    this.#listbox = element("ul", {
      id: listId,
      role: "listbox",
      "aria-label": label,
      hidden: true,
    });
    this.input = element("input", {
      type: "text",
      role: "combobox",
      autocomplete: "off",
      autocapitalize: "off",
      spellcheck: "false",
      "aria-autocomplete": "list",
      "aria-expanded": "false",
      "aria-controls": listId,
      oninput: () => this.#open(true),
      onclick: () => this.#open(false),
      onfocus: () => this.input.select(),
      onblur: () => this.#leave(),
      onkeydown: (event) => this.#onKey(event),
      ...attributes,
    });
    this.node = element("div", { class: "combobox" }, this.input, this.#listbox);
  }

  get value() {
    return this.input.value.trim();
  }

  set value(text) {
    this.input.value = text ?? "";
  }

  get #isOpen() {
    return !this.#listbox.hidden;
  }

  #open(filtered) {
    const all = this.#options();
    const narrow = filtered || !all.some((each) => each.value === this.value);
    const found = narrow ? matching(all, this.value) : all;
    this.#shown = found.slice(0, MOST_SHOWN);
    this.#listbox.replaceChildren(...this.#shown.map((each, place) => this.#item(each, place)));
    if (found.length > MOST_SHOWN) this.#listbox.append(more(found.length - MOST_SHOWN));
    this.#listbox.hidden = found.length === 0;
    set(this.input, "aria-expanded", String(found.length > 0));
    this.#activate(-1);
    if (filtered) say(found.length ? plural(found.length, "choice") : "Nothing matches");
  }

  #close() {
    this.#listbox.hidden = true;
    set(this.input, "aria-expanded", "false");
    this.#activate(-1);
  }

  #item({ value, about }, place) {
    return element(
      "li",
      {
        id: `${this.#listbox.id}-${place}`,
        role: "option",
        "aria-selected": String(value === this.value),
        onmousedown: (event) => event.preventDefault(),
        onclick: () => this.#choose(value),
      },
      element("span", {}, value),
      about && element("small", {}, about),
    );
  }

  #activate(place) {
    this.#listbox.querySelector(".active")?.classList.remove("active");
    this.#active = place;
    const item = this.#listbox.children[place];
    item?.classList.add("active");
    item?.scrollIntoView({ block: "nearest" });
    set(this.input, "aria-activedescendant", item?.id);
  }

  #choose(value) {
    this.value = value;
    this.#close();
    this.#onchoose(value);
    this.input.dispatchEvent(new Event("change", { bubbles: true }));
  }

  /** A part of a single choice's text stands for the whole. */
  #leave() {
    this.#close();
    const all = this.#options();
    if (!this.value || all.some((each) => each.value === this.value)) return;
    const found = matching(all, this.value);
    if (found.length === 1) this.#choose(found[0].value);
  }

  #onKey(event) {
    const acts = {
      ArrowDown: () => this.#move(1, event),
      ArrowUp: () => this.#move(-1, event),
      Enter: () => this.#accept(),
      Escape: () => this.#escape(),
    };
    if (acts[event.key]?.()) event.preventDefault();
  }

  /** Opens the list, or moves in it by `step`; true, for the key is used up. */
  #move(step, event) {
    if (!this.#isOpen) this.#open(false);
    else if (event.altKey) this.#close();
    if (event.altKey || !this.#shown.length) return true;
    const places = this.#shown.length;
    const from = this.#active < 0 && step < 0 ? places : this.#active;
    this.#activate((from + step + places) % places);
    return true;
  }

  /** Chooses what is marked; where nothing is, what was typed may stand for a single choice. */
  #accept() {
    if (this.#active < 0) {
      this.#leave();
      return false;
    }
    this.#choose(this.#shown[this.#active].value);
    return true;
  }

  #escape() {
    if (this.#isOpen) this.#close();
    else this.#choose("");
    return true;
  }
}

/** Those options that hold every word of `text`; first those that begin with it. */
export function matching(options, text) {
  const wanted = text.toLowerCase();
  const words = wanted.split(/\s+/).filter(Boolean);
  const found = options.filter((each) => {
    const whole = `${each.value} ${each.about ?? ""}`.toLowerCase();
    return words.every((word) => whole.includes(word));
  });
  const begins = (each) => each.value.toLowerCase().startsWith(wanted);
  return [...found.filter(begins), ...found.filter((each) => !begins(each))];
}

function more(number) {
  return element(
    "li",
    { role: "option", "aria-disabled": "true", "aria-selected": "false" },
    `${plural(number, "more choice")}: type to narrow them down`,
  );
}
