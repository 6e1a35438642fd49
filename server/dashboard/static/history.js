/** All jobs, newest first: filtered, a page at a time, and up to date while some still run. */

import { button, element, set } from "./dom.js";
import { duration } from "./format.js";
import { JOB_HEADS, jobRow } from "./job_row.js";
import { addressOf, parse } from "./router.js";
import { refreshed } from "./rows.js";
import { pause } from "./visible.js";

const STATES = ["queued", "running", "done", "failed", "cancelled"];
const PAGE = 50;
const MOST_AT_ONCE = 500;
const ENDED = new Set(["done", "failed", "cancelled"]);

/** Shows the jobs that pass the address's filters. */
export async function showHistory({ api, registry, route, show, signal, go }) {
  const statistics = await registry.list("statistics");
  const list = new JobList(api, route.query, signal);
  await list.load();
  const changed = (event) => {
    const { query } = parse(location.hash); // which may be newer than what is shown
    if (event.target.value) query.set(event.target.name, event.target.value);
    else query.delete(event.target.name);
    go(addressOf(["jobs"], query));
  };
  show(
    "Jobs",
    element(
      "div",
      { class: "filters-row", role: "group", "aria-label": "Filters" },
      choice(
        "statistic",
        "Statistic",
        statistics.map((each) => each.name),
        route.query,
        changed,
      ),
      choice("status", "State", STATES, route.query, changed),
      button("Refresh", () => list.refresh(), { id: "refresh" }),
    ),
    list.node,
  );
  while (!signal.aborted) {
    await pause(2000, signal);
    if (list.underWay) await list.refresh();
  }
}

function choice(name, label, values, query, onchange) {
  const chosen = query.get(name) ?? "";
  const options = ["", ...values].map((value) =>
    element("option", { value, selected: value === chosen }, value || "all"),
  );
  return element(
    "label",
    {},
    label,
    element("select", { name, id: `filter-${name}`, onchange }, options),
  );
}

class JobList {
  #api;
  #query;
  #signal;
  #jobs = [];
  #next = null;
  #body = element("tbody");
  #none = element("p", { class: "quiet" });
  #more = button("Older jobs", () => this.#older(), { id: "older" });

  constructor(api, query, signal) {
    this.#api = api;
    this.#query = query;
    this.#signal = signal;
    const heads = [...JOB_HEADS, "Took"];
    this.node = element(
      "div",
      { class: "card" },
      element(
        "div",
        { class: "scrolls", role: "region", "aria-label": "Jobs", tabindex: 0 },
        element(
          "table",
          { id: "jobs" },
          element("caption", { class: "unseen" }, "Jobs, newest first"),
          element(
            "thead",
            {},
            element(
              "tr",
              {},
              heads.map((text) => element("th", { scope: "col" }, text)),
            ),
          ),
          this.#body,
        ),
      ),
      this.#none,
      element("div", { class: "actions" }, this.#more),
    );
  }

  /** Whether a job that is listed has not ended. */
  get underWay() {
    return this.#jobs.some((each) => !ENDED.has(each.state));
  }

  /** Reads the newest jobs, as many as were shown. */
  async load() {
    const limit = Math.min(MOST_AT_ONCE, Math.max(PAGE, this.#jobs.length));
    const query = new URLSearchParams({ ...Object.fromEntries(this.#query), limit });
    await this.#read(`api/history?${query}`, []);
  }

  refresh() {
    return this.load();
  }

  async #older() {
    const first = this.#jobs.length;
    await this.#read(this.#next, this.#jobs);
    this.#body.children[first]?.querySelector("a").focus();
  }

  async #read(address, before) {
    const { data, next } = await this.#api.get(address, { signal: this.#signal });
    this.#jobs = [...before, ...data];
    this.#next = next?.replace(/^\//, "");
    refreshed(this.#body, this.#jobs.map(row));
    set(this.#more, "hidden", !this.#next);
    this.#none.textContent = this.#jobs.length ? "" : "No job is like that.";
  }
}

function row(job) {
  const took = job.ended_at && job.started_at ? duration(job.ended_at - job.started_at) : "–";
  return jobRow(job, element("td", { class: "number" }, took));
}
