/** A request's fields as the query of an address, and back. */

/** `{"states": ["Iowa", "Ohio"]}` as `states=Iowa&states=Ohio`. */
export function queryOf(request) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(request)) {
    for (const each of [value].flat()) {
      if (each != null) query.append(name, typeof each === "object" ? JSON.stringify(each) : each);
    }
  }
  return query;
}

/** The request that a query makes of a statistic's fields; what no field is called is left out. */
export function requestOf(query, fields) {
  const present = fields.filter((field) => query.has(field.name));
  return Object.fromEntries(present.map((field) => [field.name, valueOf(query, field)]));
}

function valueOf(query, field) {
  const values = query.getAll(field.name).map((text) => typed(text, field));
  return field.many ? values : values[0];
}

/** Text as the number or truth that a field wants; as it is where it is none. */
export function typed(text, field) {
  if (/\bbool\b/.test(field.type)) return text === "true";
  const number = Number(text);
  const wanted = /\b(int|float)\b/.test(field.type) && text.trim() !== "";
  return wanted && !Number.isNaN(number) ? number : text;
}

/** What a column is called on the page: `n_without_year` is "n without year". */
export function headOf(name) {
  const words = name.replaceAll("_", " ");
  return /^n\b/.test(words) ? words : words.charAt(0).toUpperCase() + words.slice(1);
}

/** What a field is called on the page: `n_resamples` is "Number of resamples". */
export function labelOf(name) {
  const words = name.replace(/^n_/, "number_of_").replace(/_s$/, " (seconds)").replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
