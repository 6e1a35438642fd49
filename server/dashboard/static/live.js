/** The pool as it works: who computes what, what waits, how many jobs end. */

import { element, say, terms } from "./dom.js";
import { bytes, count } from "./format.js";
import { Throughput } from "./throughput.js";
import { pause } from "./visible.js";

const STEP = 1000;
const MOST_EVENTS = 8;

/** Shows the pool, anew each second while somebody looks; one request is under way at a time. */
export async function showLive({ api, show, signal }) {
  const live = new Live();
  let names = new Map();
  for (let isFirst = true; ; isFirst = false) {
    const pool = await api.data("api/pool", { signal });
    names = await namesOf(api, names, pool.workers, signal);
    live.update(pool, names);
    if (isFirst) show("Live", ...live.nodes);
    await pause(STEP, signal);
  }
}

/** The statistic of each job that a worker has, most of them known from the last look. */
async function namesOf(api, known, workers, signal) {
  const names = new Map();
  for (const { job } of workers) {
    if (job != null) names.set(job, known.get(job) ?? (await nameOf(api, job, signal)));
  }
  return names;
}

async function nameOf(api, job, signal) {
  try {
    return (await api.data(`api/jobs/${job}`, { signal })).statistic;
  } catch (error) {
    if (error.status !== 404) throw error;
    return "";
  }
}

class Live {
  #queue = element("div", { class: "figures" });
  #throughput = new Throughput();
  #rows = element("tbody");
  #events = element("ol", { id: "events", class: "events" });
  #quiet = element("p", { class: "quiet" }, "Nothing since this page was opened.");
  #known = null;

  constructor() {
    const heads = ["Process", "State", "Computes", "Tasks done", "Memory"];
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
      element(
        "section",
        { class: "card", "aria-labelledby": "events-title" },
        element("h2", { id: "events-title" }, "Workers that came and went"),
        this.#quiet,
        this.#events,
      ),
    ];
  }

  /** Shows a pool; `names` has the statistic of each job that a worker has. */
  update(pool, names) {
    this.#throughput.add(pool.ended_jobs, performance.now() / 1000);
    this.#queue.replaceChildren(figures(pool, this.#throughput.latest));
    this.#rows.replaceChildren(...pool.workers.map((worker) => row(worker, names)));
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

function row({ pid, state, job, tasks_done: done, memory }, names) {
  const statistic = names.get(job);
  return element(
    "tr",
    { "data-pid": pid },
    element("th", { scope: "row" }, String(pid)),
    element("td", {}, element("span", { class: "state", "data-state": state }, state)),
    element(
      "td",
      {},
      job == null ? "–" : element("a", { href: `#/jobs/${job}` }, `job ${job}`),
      statistic ? element("code", {}, statistic) : "",
    ),
    element("td", { class: "number" }, count(done)),
    element("td", { class: "number" }, bytes(memory)),
  );
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
