/** Addresses within the page, such as `#/ask/best5?question=...`. */

/** The parts of a hash's path, and its query. */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#/, "").split(/\?(.*)/s);
  return {
    path: path.split("/").filter(Boolean).map(decoded),
    query: new URLSearchParams(query),
  };
}

/** The hash of a path and a query. */
export function addressOf(path, query = new URLSearchParams()) {
  const written = query.toString();
  return `#/${path.map(encodeURIComponent).join("/")}${written ? `?${written}` : ""}`;
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
