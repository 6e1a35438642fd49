/** One job: how far it is, and what became of it. */

import { showAnswer } from "./answer.js";
import { button, element, say, terms } from "./dom.js";
import { duration, moment, percent, plural } from "./format.js";
import { labelOf, queryOf } from "./query.js";
import { addressOf } from "./router.js";

const ENDED = new Set(["done", "failed", "cancelled"]);
const GLANCE = 1;
const LONG_WAIT = 20;

/** Shows the job of the address, and goes on showing it until it has ended. */
export async function showJob({ api, registry, route, show, signal, go }) {
  const id = route.path[1].replace(/^job_id_/, "");
  const address = `api/jobs/${encodeURIComponent(id)}`;
  let record;
  try {
    record = await api.data(address, { signal });
  } catch (error) {
    if (error.status !== 404) throw error;
    return showMissing(id, show);
  }
  const statistic = await registry.statistic(record.statistic);
  const view = new JobView({ api, record, go, signal });
  show(`Job ${record.job_id}: ${statistic?.summary ?? record.statistic}`, ...view.nodes);
  while (!ENDED.has(record.state)) {
    const wait = document.hidden ? LONG_WAIT : GLANCE;
    await api.get(`api/get_results/${record.job_id}?wait=${wait}`, { signal, wait });
    record = await api.data(address, { signal });
    view.update(record);
  }
  await view.end(record);
}

function showMissing(id, show) {
  show(
    `There is no job ${id}`,
    element(
      "p",
      {},
      "It may have been removed: a server keeps only so many jobs. ",
      element("a", { href: "#/jobs" }, "Jobs that are kept"),
    ),
  );
}

class JobView {
  #context;
  #state = element("span", { class: "state", id: "state" });
  #times = element("p", { id: "times", class: "quiet" });
  #progress = element("progress", { id: "progress", max: 1, "aria-label": "Progress" });
  #share = element("span", { id: "share", class: "number" });
  #underWay;
  #trouble = element("div", { id: "trouble" });
  #answer = element("section", { id: "answer", "aria-label": "Answer", hidden: true });
  #attempts = 0;
  #told = 0;
  #isWatched = false;

  constructor(context) {
    this.#context = context;
    const { record, go } = context;
    const change = addressOf(["ask", record.statistic], queryOf(record.request));
    this.#underWay = element(
      "div",
      { class: "under-way card" },
      this.#progress,
      this.#share,
      button("Cancel", () => this.#cancel(), { id: "cancel", class: "danger" }),
    );
    const asked = element(
      "section",
      { class: "card asked", "aria-label": "The question" },
      element("p", { class: "lead" }, this.#state, " ", record.request.question ?? ""),
      asTerms(record),
      this.#times,
      element(
        "div",
        { class: "actions" },
        button("Ask again", () => this.#again(go), { id: "again" }),
        element("a", { class: "button", href: change, id: "change" }, "Change the question"),
      ),
    );
    this.nodes = [asked, this.#underWay, this.#trouble, this.#answer];
    this.update(record);
  }

  /** Shows a job as it is now. */
  update(record) {
    this.#state.textContent = record.state;
    this.#state.dataset.state = record.state;
    this.#times.replaceChildren(...timesOf(record));
    this.#underWay.hidden = ENDED.has(record.state);
    this.#isWatched ||= !ENDED.has(record.state);
    if (record.parts > 1) this.#tellProgress(record);
    else this.#share.textContent = record.state === "queued" ? "Waiting for its turn" : "Computing";
    if (record.attempts.length !== this.#attempts) {
      this.#trouble.replaceChildren(...attemptsOf(record.attempts));
      this.#attempts = record.attempts.length;
    }
  }

  /** Shows how a job has ended, and its answer where there is one. */
  async end(record) {
    this.update(record);
    if (this.#isWatched) say(`The job is ${record.state}`);
    if (record.state !== "done") this.#trouble.prepend(failure(record));
    else await showAnswer(this.#answer, record, this.#context);
  }

  #tellProgress({ progress, parts }) {
    this.#progress.value = progress;
    this.#share.textContent = `${percent(progress)} of ${plural(parts, "part")}`;
    const quarter = Math.floor(progress * 4);
    if (quarter > this.#told) say(`${percent(progress)} done`);
    this.#told = Math.max(this.#told, quarter);
  }

  async #cancel() {
    const { api, record } = this.#context;
    try {
      await api.call("DELETE", `api/jobs/${record.job_id}`);
    } catch (error) {
      if (error.status !== 409) throw error;
    }
  }

  async #again(go) {
    const { api, record, signal } = this.#context;
    const job = await api.submit(record.statistic, record.request, signal);
    go(addressOf(["jobs", String(job)]));
  }
}

function asTerms({ statistic, request }) {
  const others = Object.entries(request).filter(([name]) => name !== "question");
  const rows = others.map(([name, value]) => [labelOf(name), asWords(name, value)]);
  return terms([["Statistic", element("code", {}, statistic)], ...rows], { class: "facts" });
}

function asWords(name, value) {
  if (name === "years") return value.join(" to ");
  return Array.isArray(value) ? value.join(", ") : String(value);
}

function timesOf(record) {
  const { accepted_at: accepted, started_at: started, ended_at: ended } = record;
  const times = [
    `Accepted ${moment(accepted)}`,
    started && `waited ${duration(started - accepted)}`,
    started && ended && `computed for ${duration(ended - started)}`,
  ];
  const source = record.cached_from;
  return [
    times.filter(Boolean).join(" · "),
    ...(source
      ? [
          " · the answer of ",
          element("a", { href: `#/jobs/${source}` }, `job ${source}`),
          ", which asked the same",
        ]
      : []),
  ];
}

function failure({ state, reason }) {
  if (state === "cancelled") return element("p", { class: "notice" }, "This job was cancelled.");
  return element(
    "div",
    { class: "notice wrong", role: "alert" },
    element(
      "p",
      {},
      element("strong", {}, "This job failed: "),
      element("span", { id: "reason" }, reason),
    ),
  );
}

function attemptsOf(attempts) {
  if (!attempts.length) return [];
  const lines = attempts.map((each) => element("li", {}, attemptInWords(each)));
  const title = `${plural(attempts.length, "attempt")} cost a worker its life`;
  return [
    element(
      "details",
      { class: "card", id: "attempts", open: true },
      element("summary", {}, title),
      element("ul", {}, lines),
    ),
  ];
}

function attemptInWords({ cause, stage }) {
  return stage ? `${cause} (it was at: ${stage})` : cause;
}
