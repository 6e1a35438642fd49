/** Asking: all statistics to choose from, and the form of the one chosen. */

import { Combobox, matching } from "./combobox.js";
import { button, element, prose, terms } from "./dom.js";
import { Form } from "./form.js";
import { plural } from "./format.js";
import { queryOf, requestOf } from "./query.js";
import { addressOf } from "./router.js";

/** The list of statistics, to search in and to choose from. */
export async function showStatistics({ registry, route, show }) {
  const { statistics, server } = await registry.lists("statistics", "server");
  const list = element("ul", { class: "cards", id: "statistics" });
  const none = element("p", { class: "quiet", role: "status" });
  const options = statistics.map((each) => ({ value: each.name, about: each.summary, each }));
  const draw = (text) => {
    const found = matching(options, text);
    list.replaceChildren(...found.map(({ each }) => card(each, route.query)));
    none.textContent = found.length ? "" : "No statistic is called so, or does that.";
  };
  draw("");
  const { title, rows, questions } = server.table;
  const about = `${title}: ${plural(questions, "question")}, ${plural(rows, "row")}.`;
  show(
    "What do you want to know?",
    element("p", { class: "lead" }, about),
    element("label", { for: "search", class: "unseen" }, "Search the statistics"),
    element("input", {
      id: "search",
      type: "search",
      placeholder: "Search, such as trend or interval",
      oninput: (event) => draw(event.target.value.trim()),
    }),
    list,
    none,
  );
}

function card({ name, summary }, query) {
  return element(
    "li",
    {},
    element(
      "a",
      { href: addressOf(["ask", name], query), "data-statistic": name },
      element("strong", {}, prose(summary)),
      element("code", {}, name),
    ),
  );
}

/** The form of one statistic, filled in from the address. */
export async function showForm({ api, registry, route, show, signal, go }) {
  const lists = await registry.lists("statistics", "questions", "states", "categories");
  const statistic = lists.statistics.find((each) => each.name === route.path[1]);
  if (!statistic) return showUnknown(route.path[1], show);
  const request = requestOf(route.query, statistic.fields);
  const remember = (entered) => {
    const address = addressOf(["ask", statistic.name], queryOf(entered));
    history.replaceState(history.state, "", address);
  };
  const submit = async (entered) => {
    const waiting = busy(form);
    try {
      const job = await api.submit(
        statistic.name,
        entered,
        AbortSignal.any([signal, waiting.signal]),
      );
      go(addressOf(["jobs", String(job)]));
    } catch (error) {
      if (error.status && !signal.aborted) form.refuse(error.message);
      else if (!waiting.signal.aborted) throw error;
    } finally {
      waiting.end();
    }
  };
  const form = new Form(statistic, lists, { onsubmit: submit, onchange: remember });
  form.actions.append(
    button(
      "Fill in an example",
      () => {
        form.write(statistic.example);
        remember(form.read());
      },
      { id: "example" },
    ),
  );
  form.write(request);
  show(
    statistic.summary,
    element("p", { class: "crumbs" }, element("a", { href: "#/" }, "All statistics")),
    element(
      "div",
      { class: "columns" },
      form.node,
      explained(statistic, lists.statistics, form, go),
    ),
  );
}

/** The form while its request is on the way: the button waits, another gives up. */
function busy(form) {
  const giveUp = new AbortController();
  form.button.disabled = true;
  const stop = button("Stop", () => giveUp.abort());
  const late = setTimeout(() => form.actions.append(stop), 300);
  return {
    signal: giveUp.signal,
    end() {
      clearTimeout(late);
      stop.remove();
      form.button.disabled = false;
    },
  };
}

function explained(statistic, statistics, form, go) {
  const change = (name) => {
    if (statistics.some((each) => each.name === name) && name !== statistic.name) {
      go(addressOf(["ask", name], queryOf(form.read())));
    }
  };
  const choice = new Combobox({
    options: () => statistics.map((each) => ({ value: each.name, about: each.summary })),
    onchoose: change,
    label: "Statistics",
    id: "statistic",
  });
  choice.value = statistic.name;
  return element(
    "aside",
    { class: "card", "aria-label": "About this statistic" },
    element("label", { for: "statistic" }, "Statistic"),
    choice.node,
    terms([
      ["How it is computed", statistic.formula && element("span", {}, prose(statistic.formula))],
      ["Source", statistic.source],
    ]),
  );
}

function showUnknown(name, show) {
  show(
    "There is no such statistic",
    element(
      "p",
      {},
      `This server has none that is called ${name}. `,
      element("a", { href: "#/" }, "All statistics"),
    ),
  );
}
