/** A job in a table of jobs. */

import { element } from "./dom.js";
import { ago, moment } from "./format.js";

/** What stands above the cells that every such table has; a last one is the table's own. */
export const JOB_HEADS = ["Job", "State", "Statistic", "Question", "Accepted"];

/** The row of a job as the history tells it, with `last` as its last cell. */
export function jobRow({ job_id: id, state, statistic, request, accepted_at: accepted }, last) {
  return element(
    "tr",
    { "data-key": id },
    element("td", {}, element("a", { href: `#/jobs/${id}` }, String(id))),
    element("td", {}, element("span", { class: "state", "data-state": state }, state)),
    element("td", {}, element("code", {}, statistic)),
    element("td", { class: "long" }, request.question ?? "–"),
    element("td", { title: moment(accepted) }, ago(accepted)),
    last,
  );
}
