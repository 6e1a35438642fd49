/** The server at work: who computes what, which jobs have not ended, how many end. */

import { element, say, terms } from "./dom.js";
import { bytes, count, percent } from "./format.js";
import { refreshed } from "./rows.js";
import { Throughput } from "./throughput.js";
import { UNFINISHED, Unfinished } from "./unfinished.js";
import { pause } from "./visible.js";

const STEP = 1000;
const MOST_EVENTS = 8;

/** Shows both, anew each second while somebody looks; one request is under way at a time. */
export async function showLive({ api, show, signal }) {
  const live = new Live();
  for (let isFirst = true; ; isFirst = false) {
    const pool = await api.data("api/pool", { signal });
    live.update(pool, await api.data(UNFINISHED, { signal }));
    if (isFirst) show("Live", ...live.nodes);
    await pause(STEP, signal);
  }
}

class Live {
  #queue = element("div", { class: "figures" });
  #throughput = new Throughput();
  #unfinished = new Unfinished();
  #rows = element("tbody");
  #events = element("ol", { id: "events", class: "events" });
  #quiet = element("p", { class: "quiet" }, "Nothing since this page was opened.");
  #known = null;

  constructor() {
    const heads = ["Process", "State", "Computes", "Progress", "Tasks done", "Memory"];
    this.nodes = [
      element(
        "section",
        { class: "card", "aria-labelledby": "now" },
        element("h2", { id: "now" }, "Now"),
        this.#queue,
        this.#throughput.node,
      ),
      element(
        "section",
        { class: "card", "aria-labelledby": "workers-title" },
        element("h2", { id: "workers-title" }, "Workers"),
        element(
          "div",
          { class: "scrolls", role: "region", "aria-label": "Table of workers", tabindex: 0 },
          element(
            "table",
            { id: "workers" },
            element("thead", {}, element("tr", {}, heads.map(head))),
            this.#rows,
          ),
        ),
      ),
      this.#unfinished.node,
      element(
        "section",
        { class: "card", "aria-labelledby": "events-title" },
        element("h2", { id: "events-title" }, "Workers that came and went"),
        this.#quiet,
        this.#events,
      ),
    ];
  }

  /** Shows a pool, and jobs that have not ended, as they are now. */
  update(pool, unfinished) {
    this.#unfinished.update(unfinished, pool.unfinished_jobs);
    const jobs = new Map(pool.computing.map((each) => [each.job_id, each]));
    this.#throughput.add(pool.ended_jobs, performance.now() / 1000);
    this.#queue.replaceChildren(figures(pool, this.#throughput.latest));
    refreshed(
      this.#rows,
      pool.workers.map((worker) => row(worker, jobs)),
    );
    this.#compare(new Set(pool.workers.map((each) => each.pid)));
  }

  #compare(pids) {
    const before = this.#known ?? pids;
    const gone = [...before].filter((pid) => !pids.has(pid));
    const come = [...pids].filter((pid) => !before.has(pid));
    this.#known = pids;
    for (const pid of gone) this.#tell(`Worker ${pid} is gone.`);
    for (const pid of come) this.#tell(`Worker ${pid} has come.`);
  }

  #tell(text) {
    this.#quiet.hidden = true;
    const time = element("time", {}, new Date().toLocaleTimeString("en-GB"));
    this.#events.prepend(element("li", {}, time, " ", text));
    while (this.#events.children.length > MOST_EVENTS) this.#events.lastChild.remove();
    say(text);
  }
}

function head(text, place) {
  return element("th", { scope: "col", class: place > 2 ? "number" : null }, text);
}

function row({ pid, state, job, tasks_done: done, memory }, jobs) {
  const known = jobs.get(job);
  return element(
    "tr",
    { "data-key": pid },
    element("th", { scope: "row" }, String(pid)),
    element("td", {}, element("span", { class: "state", "data-state": state }, state)),
    element(
      "td",
      {},
      job == null ? "–" : jobLink(job),
      known && element("code", {}, known.statistic),
    ),
    element("td", { class: "number" }, known ? percent(known.progress) : "–"),
    element("td", { class: "number" }, count(done)),
    element("td", { class: "number" }, bytes(memory)),
  );
}

function jobLink(job) {
  return element("a", { href: `#/jobs/${job}` }, `job ${job}`);
}

function figures(pool, perSecond) {
  const busy = pool.workers.filter((each) => each.state === "busy").length;
  return terms(
    [
      ["Workers at work", `${busy} of ${pool.workers.length}`],
      ["Jobs not ended", count(pool.unfinished_jobs)],
      ["Jobs waiting", count(pool.queued_jobs)],
      ["Tasks waiting", count(pool.waiting_tasks)],
      ["Jobs ended a second", perSecond == null ? "…" : perSecond.toFixed(1)],
    ],
    { class: "tiles", id: "figures" },
  );
}
