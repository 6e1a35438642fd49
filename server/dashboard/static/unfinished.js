/** The jobs that have not ended, newest first. */

import { element } from "./dom.js";
import { count, percent } from "./format.js";
import { JOB_HEADS, jobRow } from "./job_row.js";
import { refreshed } from "./rows.js";

const MOST = 20;
const HEADS = [...JOB_HEADS, "Progress"];

/** Where the newest of them are read. */
export const UNFINISHED = `api/history?status=running&limit=${MOST}`;

export class Unfinished {
  #rows = element("tbody");
  #rest = element("p", { class: "quiet" });

  constructor() {
    this.node = element(
      "section",
      { class: "card", "aria-labelledby": "unfinished-title" },
      element("h2", { id: "unfinished-title" }, "Jobs"),
      element(
        "div",
        { class: "scrolls", role: "region", "aria-label": "Table of jobs", tabindex: 0 },
        element(
          "table",
          { id: "unfinished" },
          element(
            "thead",
            {},
            element(
              "tr",
              {},
              HEADS.map((text) => element("th", { scope: "col" }, text)),
            ),
          ),
          this.#rows,
        ),
      ),
      this.#rest,
    );
  }

  /** Shows some jobs as they are now, of so many in all. */
  update(jobs, all) {
    refreshed(this.#rows, jobs.map(row));
    const more = all - jobs.length;
    const said = jobs.length ? "" : "No job waits or is computed.";
    this.#rest.textContent = jobs.length === MOST && more > 0 ? `And ${count(more)} older.` : said;
  }
}

function row(job) {
  return jobRow(job, element("td", {}, percent(job.progress)));
}
