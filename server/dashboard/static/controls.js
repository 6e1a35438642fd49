/** The controls of a form's fields, made of what the server says of each field. */

import { Chips } from "./chips.js";
import { Combobox } from "./combobox.js";
import { element } from "./dom.js";
import { cell } from "./format.js";
import { typed } from "./query.js";

/**
 * The control that fits a field: `{node, input, read, write, parts}`. `read()` gives undefined
 * where nothing was entered; `parts` are the elements to mark where the field is wrong; `group`
 * is true where several inputs make it up. `options(vocabulary)` gives what names there are.
 */
export function controlOf(field, label, attributes, options) {
  if (field.vocabulary) return namesControl(field, label, attributes, options);
  if (field.choices && !field.many) return choiceControl(field, attributes);
  if (field.length) return rangeControl(field, attributes);
  if (field.many) return listControl(field, attributes);
  return plainControl(field, attributes);
}

function namesControl(field, label, attributes, options) {
  const Kind = field.many ? Chips : Combobox;
  const required = field.required ? "true" : null;
  const made = new Kind({
    options: () => options(field.vocabulary),
    label,
    "aria-required": required,
    ...attributes,
  });
  const empty = field.many ? [] : "";
  return {
    node: made.node,
    input: made.input,
    parts: [made.input],
    read: () => (made.value.length ? made.value : undefined),
    write: (value) => (made.value = field.many && value ? [value].flat() : (value ?? empty)),
  };
}

function choiceControl(field, attributes) {
  const choices =
    field.optional && field.default == null ? [null, ...field.choices] : field.choices;
  const radios = choices.map((value) => ({ value, input: radio(field, value, attributes) }));
  const node = element(
    "div",
    { class: "radios" },
    radios.map(({ value, input }) =>
      element("label", {}, input, value === null ? "none" : String(value)),
    ),
  );
  const write = (value) => {
    const wanted = value ?? field.default ?? null;
    for (const each of radios) each.input.checked = each.value === wanted;
  };
  write(undefined);
  return {
    node,
    input: radios[0].input,
    parts: radios.map((each) => each.input),
    read: () => {
      const chosen = radios.find((each) => each.input.checked)?.value ?? undefined;
      return chosen === field.default ? undefined : chosen;
    },
    write,
    group: true,
  };
}

function radio(field, value, { id }) {
  return element("input", {
    type: "radio",
    name: id,
    id: value === null ? `${id}-none` : `${id}-${value}`,
    value: value ?? "",
  });
}

function rangeControl(field, attributes) {
  const names = field.length === 2 ? ["from", "to"] : numbered(field.length);
  const inputs = names.map((name) =>
    element("input", {
      type: "text",
      inputmode: "numeric",
      "aria-label": name,
      "data-part": name,
      ...attributes,
      id: `${attributes.id}-${name}`,
    }),
  );
  const read = () => {
    const texts = inputs.map((input) => input.value.trim());
    if (texts.every((text) => !text)) return undefined;
    return texts.map((text, place) => typed(text || inputs[place].placeholder, field));
  };
  return {
    node: element("div", { class: "range" }, inputs.map(withName(names))),
    input: inputs[0],
    parts: inputs,
    read,
    write: (values) => inputs.forEach((input, place) => (input.value = values?.[place] ?? "")),
    suggest: (values) => inputs.forEach((input, place) => (input.placeholder = values[place])),
    group: true,
  };
}

function withName(names) {
  return (input, place) => element("span", {}, element("span", {}, names[place]), input);
}

function numbered(length) {
  return Array.from({ length }, (_, place) => String(place + 1));
}

function listControl(field, attributes) {
  const input = element("input", {
    type: "text",
    placeholder: field.default ? field.default.map(cell).join(", ") : "such as 0.1, 0.5",
    ...attributes,
  });
  const read = () => {
    const texts = input.value.split(/[\s,;]+/).filter(Boolean);
    return texts.length ? texts.map((text) => typed(text, field)) : undefined;
  };
  const write = (values) => (input.value = values ? [values].flat().join(", ") : "");
  return { node: input, input, parts: [input], read, write };
}

function plainControl(field, attributes) {
  if (field.type === "bool") return truthControl(field, attributes);
  const numeric = /\b(int|float)\b/.test(field.type);
  const input = element("input", {
    type: "text",
    inputmode: numeric ? (field.type === "int" ? "numeric" : "decimal") : null,
    placeholder: field.default == null ? null : String(field.default),
    class: numeric ? "number" : null,
    ...attributes,
  });
  return {
    node: input,
    input,
    parts: [input],
    read: () => (input.value.trim() ? typed(input.value.trim(), field) : undefined),
    write: (value) => (input.value = value ?? ""),
  };
}

function truthControl(field, attributes) {
  const input = element("input", { type: "checkbox", ...attributes });
  const usual = field.default ?? false;
  input.checked = usual;
  return {
    node: input,
    input,
    parts: [input],
    read: () => (input.checked === usual ? undefined : input.checked),
    write: (value) => (input.checked = value ?? usual),
  };
}
