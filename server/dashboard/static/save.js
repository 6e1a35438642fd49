/** Handing files to the browser. */

import { element } from "./dom.js";

/** Saves text as a file. */
export function saveText(text, type, name) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  saveUrl(url, name);
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Saves what is at an address as a file. */
export function saveUrl(url, name) {
  const link = element("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}
