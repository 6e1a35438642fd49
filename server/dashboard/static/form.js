/** The form of one statistic, made of nothing but the server's description of it. */

import { element, say } from "./dom.js";
import { Field } from "./fields.js";
import { plural } from "./format.js";

/** `lists` are the names that the table has: `questions`, `states`, `categories`. */
export class Form {
  #fields;
  #lists;
  #summary = element("div", { class: "summary", role: "alert" });

  constructor(statistic, lists, { onsubmit, onchange }) {
    this.#lists = lists;
    const options = (vocabulary) => this.#names(vocabulary);
    this.#fields = statistic.fields.map((about) => new Field(about, options));
    this.button = element("button", { type: "submit", class: "primary", id: "submit" }, "Ask");
    this.actions = element("div", { class: "actions" }, this.button);
    const changed = () => {
      this.#suggestYears();
      onchange(this.read());
    };
    this.node = element(
      "form",
      {
        id: "ask-form",
        novalidate: true,
        onsubmit: (event) => {
          event.preventDefault();
          if (this.#complete()) onsubmit(this.read());
        },
        oninput: changed,
        onchange: changed,
      },
      this.#summary,
      this.#groups(),
      this.actions,
    );
  }

  /** The request as it was entered. */
  read() {
    const entered = this.#fields.map((field) => [field.name, field.read()]);
    return Object.fromEntries(entered.filter(([, value]) => value !== undefined));
  }

  /** Enters a request; fields that it does not have are emptied. */
  write(request) {
    for (const field of this.#fields) field.write(request[field.name]);
    this.#suggestYears();
    const folded = this.node.querySelector("details");
    if (folded)
      folded.open = this.#fields.some((each) => isRare(each.about) && each.name in request);
  }

  /** Shows the server's reason for a refusal, at the field that it is about where that is known. */
  refuse(reason) {
    const words = reason.replace(/; the fields are: .*/s, "");
    const field = this.#fields.find((each) => isAbout(words, each));
    for (const each of this.#fields) each.fail(each === field ? words : "");
    this.#summary.replaceChildren(element("p", {}, `The server refused this: ${words}`));
    if (field) this.#show(field);
  }

  #show(field) {
    const folded = field.node.closest("details");
    if (folded) folded.open = true;
    field.focus();
  }

  #complete() {
    this.#summary.replaceChildren();
    const missing = this.#fields.filter((each) => each.about.required && each.read() === undefined);
    for (const each of this.#fields) {
      each.fail(missing.includes(each) ? `${each.label} is needed.` : "");
    }
    if (missing.length) {
      this.#show(missing[0]);
      say(`${missing.map((each) => each.label).join(" and ")} needed`);
    }
    return missing.length === 0;
  }

  #groups() {
    const [own, filters, rare] = [[], [], []];
    for (const field of this.#fields) {
      const group = isRare(field.about) ? rare : field.about.common ? filters : own;
      group.push(field.node);
    }
    return [
      element("div", { class: "group" }, own),
      filters.length > 0 &&
        element(
          "fieldset",
          { class: "group filters" },
          element("legend", {}, "Only some of the rows"),
          filters,
        ),
      rare.length > 0 &&
        element(
          "details",
          { class: "group" },
          element("summary", {}, "More options"),
          element("div", { class: "grid" }, rare),
        ),
    ];
  }

  #suggestYears() {
    const known = this.#lists.questions.find((each) => each.question === this.#read("question"));
    const years = known?.years ?? this.#lists.questions.flatMap((each) => each.years);
    const field = this.#fields.find((each) => each.name === "years");
    if (years.length) field?.suggest([Math.min(...years), Math.max(...years)].map(String));
  }

  #read(name) {
    return this.#fields.find((each) => each.name === name)?.read();
  }

  #names(vocabulary) {
    const { questions, states, categories } = this.#lists;
    switch (vocabulary) {
      case "question":
        return questions.map((each) => ({ value: each.question, about: aboutQuestion(each) }));
      case "state":
        return states.map((value) => ({ value }));
      case "category":
        return categories.map(({ category, strata }) => ({
          value: category,
          about: plural(strata.length, "stratum").replace("stratums", "strata"),
        }));
      default:
        return strataOf(categories, this.#read("category"));
    }
  }
}

function strataOf(categories, chosen) {
  const within = categories.filter((each) => each.category === chosen);
  return (within.length ? within : categories).flatMap(({ category, strata }) =>
    strata.map((value) => ({ value, about: category })),
  );
}

function aboutQuestion({ rows, years, direction }) {
  const better = direction === "low" ? "less is better" : "more is better";
  const span = years.length ? `, ${years[0]}–${years.at(-1)}` : "";
  return `${better} · ${plural(rows, "row")}${span}`;
}

/** Whether most people leave the field as it is: a number that says how, and not what. */
function isRare({ required, many, type }) {
  return !required && !many && /^(int|float|bool)$/.test(type);
}

/** Whether the server's reason for a refusal is about this field. */
function isAbout(reason, field) {
  const { name, vocabulary } = field.about;
  if (reason.includes(`$.${name}\``) || reason.includes(`$.${name}[`)) return true;
  if (reason.includes(`\`${name}\``)) return true;
  if (name === "years") return /\byears?\b/.test(reason);
  const names = [field.read() ?? []].flat();
  return (
    vocabulary != null && names.some((each) => reason.startsWith(`no ${vocabulary} '${each}'`))
  );
}
