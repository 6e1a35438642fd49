/** A table that sorts by any column, and shows long answers a piece at a time. */

import { button, element, freshId, say, set } from "./dom.js";
import { cell, plural } from "./format.js";
import { headOf } from "./query.js";

const FIRST_SHOWN = 60;
const MORE_SHOWN = 500;

export class SortedTable {
  #columns;
  #rows;
  #found;
  #body = element("tbody");
  #more = element("div", { class: "actions" });
  #shown = 0;
  #order = null;

  constructor(columns, rows, title) {
    this.#columns = columns;
    this.#rows = rows;
    this.#found = rows;
    const id = freshId("caption");
    const table = element("table", {}, element("caption", { id }, title), this.#head(), this.#body);
    const region = element(
      "div",
      { class: "scrolls", role: "region", "aria-labelledby": id, tabindex: 0 },
      table,
    );
    const search = rows.length > 12 && this.#search();
    this.node = element("div", { class: "table" }, search, region, this.#more);
    this.#draw(FIRST_SHOWN);
  }

  #search() {
    const id = freshId("filter");
    return element(
      "p",
      { class: "filter" },
      element("label", { for: id }, "Only rows with"),
      element("input", {
        id,
        type: "search",
        oninput: (event) => this.#filter(event.target.value),
      }),
    );
  }

  #head() {
    const numeric = this.#columns.map((_, place) => isNumeric(this.#rows, place));
    const heads = this.#columns.map((name, place) =>
      element(
        "th",
        { scope: "col", class: numeric[place] ? "number" : null, "data-column": name },
        button(headOf(name), () => this.#sort(place)),
      ),
    );
    this.heads = heads;
    this.numeric = numeric;
    return element("thead", {}, element("tr", {}, heads));
  }

  #filter(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.#found = this.#rows.filter((row) => {
      const whole = row.map(cell).join(" ").toLowerCase();
      return words.every((word) => whole.includes(word));
    });
    this.#draw(FIRST_SHOWN);
    say(plural(this.#found.length, "row"));
  }

  /** Upwards first, then downwards, then as the answer came. */
  #sort(place) {
    const before = this.#order?.place === place ? this.#order.direction : 0;
    const direction = { 0: 1, 1: -1, [-1]: 0 }[before];
    this.#order = direction ? { place, direction } : null;
    this.heads.forEach((head, each) =>
      set(head, "aria-sort", each === place ? word(direction) : null),
    );
    this.#draw(Math.max(this.#shown, FIRST_SHOWN));
  }

  #ordered() {
    if (!this.#order) return this.#found;
    const { place, direction } = this.#order;
    return this.#found.toSorted((one, other) => compared(one[place], other[place], direction));
  }

  #draw(limit) {
    const rows = this.#ordered();
    this.#body.replaceChildren(...rows.slice(0, limit).map((row) => this.#row(row)));
    this.#shown = Math.min(limit, rows.length);
    const left = rows.length - this.#shown;
    this.#more.replaceChildren(...(left > 0 ? this.#further(left) : []));
  }

  #further(left) {
    const next = Math.min(left, MORE_SHOWN);
    return [
      button(`Show ${plural(next, "more row")}`, () => this.#draw(this.#shown + next)),
      element("span", { class: "quiet" }, `${plural(left, "row")} not shown`),
    ];
  }

  #row(row) {
    return element(
      "tr",
      {},
      row.map((value, place) =>
        element(
          "td",
          { class: this.numeric[place] ? "number" : null, title: exact(value) },
          cell(value),
        ),
      ),
    );
  }
}

/** The order of two cells; those without a value come last either way. */
export function compared(one, other, direction) {
  if (one == null || other == null) return (one == null) - (other == null);
  if (typeof one === "number" && typeof other === "number") return direction * (one - other);
  return direction * String(one).localeCompare(String(other), "en", { numeric: true });
}

function word(direction) {
  return { 1: "ascending", [-1]: "descending" }[direction] ?? null;
}

function isNumeric(rows, place) {
  const values = rows.map((row) => row[place]).filter((value) => value != null);
  return values.length > 0 && values.every((value) => typeof value === "number");
}

function exact(value) {
  return typeof value === "number" && cell(value) !== String(value) ? String(value) : null;
}
