/** A chart's description fitted to the width of the place where it is to stand. */

const LETTER = 9.2;
const SMALL_LETTER = 6.4;
const NARROW = 480;
const BESIDE_A_PANEL = 48;
const WIDEST_PANEL = 320;

/** The description with lines, labels and panels that fit; what it draws stays the same. */
export function fitted(spec, width) {
  const { title, facet, columns, config = {} } = spec;
  const fits = { ...spec };
  if (title) fits.title = fittedTitle(title, width);
  if (spec.width === "container" && spec.height?.step) fits.height = heightOf(spec);
  if (facet && columns && typeof spec.spec.width === "number") {
    const room = Math.max(1, Math.floor(width / (spec.spec.width + BESIDE_A_PANEL)));
    fits.columns = Math.min(room, distinct(spec.data, facet.field));
    const each = Math.min(WIDEST_PANEL, Math.floor(width / fits.columns) - BESIDE_A_PANEL);
    fits.spec = { ...spec.spec, width: each };
  }
  if (width < NARROW) {
    fits.config = { ...config, axis: { ...config.axis, labelLimit: Math.floor(width * 0.36) } };
  }
  return fits;
}

/** The height of rows of a fixed height: as a number, for else Vega-Lite warns of it. */
function heightOf({ height, data, encoding, layer = [] }) {
  const fields = [encoding, ...layer.map((each) => each.encoding)].map((each) => each?.y?.field);
  const field = fields.find(Boolean);
  if (!field || !data?.values) return height;
  return height.step * distinct(data, field);
}

/** How many values of a field there are; 1 where that is not known. */
function distinct(data, field) {
  return Math.max(1, new Set(data?.values?.map((row) => row[field])).size);
}

function fittedTitle(title, width) {
  if (typeof title === "string") return { text: wrapped(title, width / LETTER) };
  const fits = { ...title, text: wrapped(title.text, width / LETTER) };
  if (title.subtitle) fits.subtitle = wrapped(title.subtitle, width / SMALL_LETTER);
  return fits;
}

/** Text, or lines of it, as lines of at most so many letters. */
export function wrapped(text, letters) {
  const lines = [];
  for (const word of [text].flat().join(" ").split(" ")) {
    const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
    if (lines.length && longer.length <= letters) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}
