/** What the server says of itself, and the way to have it take no new jobs. */

import { button, element, terms } from "./dom.js";
import { bytes, count, duration, moment } from "./format.js";
import { labelOf } from "./query.js";
import { pause } from "./visible.js";

const LOOK_AGAIN = 3000;
const DRAIN =
  "The server refuses new jobs, computes those that it has accepted, and goes on showing " +
  "answers until it is stopped.";

/** Shows the facts, anew every few seconds while somebody looks. */
export async function showServer({ api, show, signal }) {
  const place = element("div", { class: "stack" });
  let shown = "";
  const draw = async () => {
    const facts = await api.data("api/server", { signal });
    const text = JSON.stringify(facts);
    if (text !== shown) place.replaceChildren(...factsOf(facts));
    shown = text;
  };
  await draw();
  show("Server", place, drainCard(api, draw));
  for (;;) {
    await pause(LOOK_AGAIN, signal);
    await draw();
  }
}

function factsOf(facts) {
  const { table, limits, libraries } = facts;
  return [
    card("Now", [
      [
        "Takes new jobs",
        element("span", { id: "accepting" }, facts.accepting ? "yes" : "no: it is shutting down"),
      ],
      ["Started", moment(facts.started_at)],
      ["Workers", `${facts.workers} (${facts.backend}), on ${count(facts.cores)} cores`],
      ["Durability", facts.durability],
      [
        "Token",
        facts.needs_token
          ? facts.open_reads
            ? "needed to change something"
            : "needed"
          : "none needed",
      ],
    ]),
    card("Table", [
      ["Title", table.title],
      ["File", element("code", {}, table.file)],
      ["Rows", count(table.rows)],
      ["Questions", count(table.questions)],
      ["States", count(table.states)],
      ["Years", table.years && table.years.join(" to ")],
      ["Shared memory", bytes(table.shared_bytes)],
      ["Fingerprint", element("code", {}, table.fingerprint)],
    ]),
    card(
      "Limits",
      Object.entries(limits).map(([name, value]) => [labelOf(name), limit(name, value)]),
    ),
    card("Versions", [
      ["Sportiv Stats", facts.version],
      ["Python", facts.python],
      ...Object.entries(libraries),
    ]),
  ];
}

function limit(name, value) {
  if (value == null) return "none";
  if (typeof value !== "number") return String(value);
  if (/timeout|ttl|wait/.test(name)) return duration(value);
  return /memory|bytes|body/.test(name) ? bytes(value) : count(value);
}

function card(title, rows) {
  return element(
    "section",
    { class: "card", "aria-label": title },
    element("h2", {}, title),
    terms(rows, { class: "facts" }),
  );
}

function drainCard(api, draw) {
  const said = element("p", { id: "draining", role: "status" });
  const dialog = confirmation(async () => {
    await api.call("POST", "api/graceful_shutdown");
    said.textContent = "The server takes no new jobs. Those accepted before still end.";
    await draw();
  });
  return element(
    "section",
    { class: "card", "aria-labelledby": "drain-title" },
    element("h2", { id: "drain-title" }, "Shut down"),
    element("p", {}, DRAIN),
    said,
    button("Take no new jobs …", () => ask(dialog), { id: "drain", class: "danger" }),
    dialog,
  );
}

/** Opens the dialog with the focus on the answer that changes nothing. */
function ask(dialog) {
  dialog.showModal();
  dialog.querySelector("#keep-going").focus();
}

function confirmation(onconfirm) {
  const dialog = element(
    "dialog",
    { id: "drain-dialog", "aria-labelledby": "drain-question" },
    element("h2", { id: "drain-question" }, "Take no new jobs from now on?"),
    element("p", {}, "Only a new start of the server makes it take jobs again."),
    element(
      "div",
      { class: "actions" },
      button(
        "Take no new jobs",
        () => {
          dialog.close();
          onconfirm();
        },
        { id: "confirm-drain", class: "danger" },
      ),
      button("Keep going", () => dialog.close(), { id: "keep-going" }),
    ),
  );
  return dialog;
}
