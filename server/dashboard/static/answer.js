/** A job's answer: as a chart, as a table, to take away, and to ask for elsewhere. */

import { Chart } from "./chart.js";
import { cliCommand, curlCommand } from "./commands.js";
import { button, element, freshId, say } from "./dom.js";
import { saveText, saveUrl } from "./save.js";
import { SortedTable } from "./table.js";

/** Fills `section` with the answer of a job that is done. */
export async function showAnswer(section, record, { api, registry, signal }) {
  const id = record.job_id;
  const [spec, table] = await Promise.all([
    api.data(`api/jobs/${id}/chart`, { signal }),
    api.data(`api/jobs/${id}/table`, { signal }),
  ]);
  const chart = spec && new Chart(spec, signal);
  const sorted = new SortedTable(table.columns, table.rows, `The answer of job ${id}`);
  section.replaceChildren(
    element("h2", {}, "Answer"),
    ...(chart ? [element("div", { class: "card" }, chart.node)] : []),
    element("div", { class: "card" }, sorted.node),
    element("h2", {}, "Take it away"),
    downloads(id, api, chart),
    commands(record, api),
  );
  section.hidden = false;
  await chart?.draw();
}

function downloads(id, api, chart) {
  const name = `job_id_${id}`;
  const text = async (path) => (await api.call("GET", path)).text();
  const save = {
    CSV: async () =>
      saveText(await text(`api/jobs/${id}/table?format=csv`), "text/csv", `${name}.csv`),
    JSON: async () =>
      saveText(await text(`api/get_results/${id}`), "application/json", `${name}.json`),
    ...(chart && {
      SVG: async () => saveText(await chart.asSvg(), "image/svg+xml", `${name}.svg`),
      PNG: async () => saveUrl(await chart.asPng(), `${name}.png`),
    }),
  };
  return element(
    "div",
    { class: "actions", role: "group", "aria-label": "Downloads" },
    Object.entries(save).map(([kind, act]) =>
      button(kind, act, {
        "data-download": kind.toLowerCase(),
        "aria-label": `Download as ${kind}`,
      }),
    ),
  );
}

function commands({ job_id: id, statistic, request }, api) {
  const server = new URL(".", location.href).href;
  return element(
    "div",
    { class: "commands" },
    command("Link to this answer", `${server}#/jobs/${id}`, "link"),
    command(
      "Ask the same with curl",
      curlCommand(server, statistic, request, api.hasToken),
      "curl",
    ),
    command("Ask the same on the command line", cliCommand(server, statistic, request), "cli"),
  );
}

function command(title, text, kind) {
  const id = freshId("command");
  const copy = button("Copy", () => copied(text, copy), {
    "data-copy": kind,
    "aria-label": `Copy: ${title}`,
  });
  return element(
    "div",
    { class: "command" },
    element("h3", { id }, title),
    element(
      "pre",
      { tabindex: 0, role: "region", "aria-labelledby": id },
      element("code", {}, text),
    ),
    copy,
  );
}

async function copied(text, source) {
  await toClipboard(text);
  source.textContent = "Copied";
  say("Copied");
  setTimeout(() => (source.textContent = "Copy"), 2000);
}

/** Pages that came without TLS from another machine have no clipboard, only a selection. */
async function toClipboard(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = element("textarea", { class: "unseen" });
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  return undefined;
}
