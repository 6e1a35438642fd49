/** Rows that are shown anew again and again: what did not change stays, and the focus with it. */

/** Makes the rows of `body` be like `fresh`; those with the same `data-key` are the same. */
export function refreshed(body, fresh) {
  const known = new Map([...body.children].map((row) => [row.dataset.key, row]));
  const rows = fresh.map((row) => merged(known.get(row.dataset.key), row));
  const wanted = new Set(rows);
  for (const row of known.values()) if (!wanted.has(row)) row.remove();
  rows.forEach((row, place) => {
    if (body.children[place] !== row) body.insertBefore(row, body.children[place] ?? null);
  });
}

/** The row that is there, with those cells replaced that have changed. */
function merged(known, fresh) {
  if (!known) return fresh;
  const cells = [...fresh.children];
  [...known.children].forEach((cell, place) => {
    if (!cell.isEqualNode(cells[place])) cell.replaceWith(cells[place]);
  });
  return known;
}
