/** The page: which view an address shows, and what happens where a view fails. */

import { Api } from "./api.js";
import { showForm, showStatistics } from "./ask.js";
import { Connection } from "./connection.js";
import { button, element, prose, set } from "./dom.js";
import { showHistory } from "./history.js";
import { showJob } from "./job.js";
import { showLive } from "./live.js";
import { Registry } from "./registry.js";
import { parse } from "./router.js";
import { showServer } from "./server.js";
import { Token } from "./token.js";

const VIEWS = new Map([
  ["ask", (route) => (route.path.length > 1 ? showForm : showStatistics)],
  ["jobs", (route) => (route.path.length > 1 ? showJob : showHistory)],
  ["live", () => showLive],
  ["server", () => showServer],
]);

const main = document.getElementById("main");
const notice = document.getElementById("notice");
const connection = new Connection(document.getElementById("banner"));
const api = new Api(connection, new Token());
const registry = new Registry(api);
let current = new AbortController();
let isFirst = true;

/** What the page lets be seen from outside: the chart that is shown, for who wants its data. */
window.sportiv = { view: null };

async function navigate() {
  current.abort(new DOMException("another view is shown", "AbortError"));
  current = new AbortController();
  const { signal } = current;
  const route = parse(location.hash);
  const section = route.path[0] ?? "ask";
  mark(section);
  notice.replaceChildren();
  const show = (title, ...content) => signal.aborted || shown(title, content);
  try {
    const view = VIEWS.get(section)?.(route) ?? showNothing;
    await view({ api, registry, route, signal, show, go });
  } catch (error) {
    if (!signal.aborted) showFailure(error, show);
  }
}

function go(address) {
  if (location.hash === address) navigate();
  else location.hash = address;
}

function mark(section) {
  for (const link of document.querySelectorAll("nav a[data-section]")) {
    set(link, "aria-current", link.dataset.section === section ? "page" : null);
  }
}

/** Puts a view into the page, and the focus on its heading, but for the first one. */
function shown(title, content) {
  const heading = element("h1", { tabindex: -1 }, prose(title));
  main.replaceChildren(heading, ...content);
  document.title = `${heading.textContent} · Sportiv Stats`;
  if (!isFirst) {
    heading.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  isFirst = false;
}

async function showNothing({ show }) {
  show("There is nothing here", element("p", {}, element("a", { href: "#/" }, "To the beginning")));
}

function showFailure(error, show) {
  if (!error.status) console.error(error);
  show(
    "That did not work",
    element("p", { role: "alert", class: "notice wrong" }, error.message),
    button("Try again", navigate),
  );
}

/** Says what went wrong behind a button; that a view was left is nothing wrong. */
function onRejection(event) {
  const { name, message, status } = event.reason ?? {};
  if (name === "AbortError" || status) event.preventDefault();
  if (name !== "AbortError")
    notice.replaceChildren(element("p", {}, message ?? String(event.reason)));
}

function skip(event) {
  event.preventDefault();
  main.focus();
}

document.getElementById("skip").addEventListener("click", skip);
connection.addEventListener("back", () => registry.forget());
addEventListener("hashchange", navigate);
addEventListener("unhandledrejection", onRejection);
navigate();
