"""Asking on the page: forms made of what the server says, answers as charts and tables."""

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from playwright.sync_api import Browser

from server.stats import STATISTICS
from tests.support.browser import NOT_LOADED, Visit, needs_chromium, visiting
from tests.support.servers import FOR_TESTS, RunningServer, running_server

pytestmark = needs_chromium

OBESITY = "Percent of adults aged 18 years and older who have obesity"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("asking"), configuration=FOR_TESTS) as running:
        yield running


@pytest.fixture(scope="module")
def long_visit(browser: Browser, server: RunningServer) -> Iterator[Visit]:
    """A visit in which much is asked."""
    with visiting(browser, server) as begun:
        yield begun


@pytest.fixture
def visit(long_visit: Visit) -> Iterator[Visit]:
    """The same, checked after each test."""
    long_visit.page.goto("about:blank")
    yield long_visit
    long_visit.check()


def table_of(server: RunningServer, job: int) -> dict[str, Any]:
    return server.get(f"/api/jobs/{job}/table")["data"]


def shown_as(value: Any) -> str:
    """A cell as the page writes it."""
    match value:
        case None:
            return "\N{EN DASH}"
        case bool():
            return str(value).lower()
        case float():
            return six_digits(Decimal(repr(value)))
    return str(value)


def six_digits(number: Decimal) -> str:
    """The number with at most six digits that count, without zeros at its end."""
    if number == 0:
        return "0"
    last = Decimal(1).scaleb(max(number.adjusted() - 5, -324))
    rounded = number if number == number.to_integral() else number.quantize(last, ROUND_HALF_UP)
    return f"{rounded.normalize():f}"


# -- each statistic -------------------------------------------------------------------


@pytest.mark.parametrize("name", STATISTICS)
def test_each_statistic_is_asked_by_its_form_and_shown_as_the_api_has_it(
    visit: Visit, server: RunningServer, name: str
) -> None:
    visit.open(f"#/ask/{name}")
    visit.find("#example").click()
    job = visit.submit()
    visit.await_answer()
    record = server.get(f"/api/jobs/{job}")["data"]
    assert record["statistic"] == name
    example = dict(STATISTICS[name].example)
    assert {field: record["request"][field] for field in example} == example

    table = table_of(server, job)
    heads = visit.find("#answer thead th").evaluate_all("heads => heads.map(h => h.dataset.column)")
    assert heads == table["columns"]
    assert visit.rows() == [[shown_as(value) for value in row] for row in table["rows"]][:60]

    spec = server.get(f"/api/jobs/{job}/chart")["data"]
    assert spec is not None
    (values,) = [spec["data"]["values"]]
    drawn = visit.chart_data()
    assert [{key: row[key] for key in of} for row, of in zip(drawn, values, strict=True)] == values
    assert visit.find("#chart svg [role=graphics-symbol]").count() > 0
    visit.picture(f"answer-{name}")


def test_a_chart_s_data_are_the_answer(visit: Visit, server: RunningServer) -> None:
    visit.open("#/ask/best5")
    visit.choose("question", "obesity")
    job = visit.submit()
    visit.await_answer()
    best = server.get(f"/api/get_results/{job}")["data"]
    assert len(best) == 5
    assert [(row["state"], row["mean"]) for row in visit.chart_data()] == list(best.items())


# -- the form -------------------------------------------------------------------------


def test_statistics_are_found_by_what_they_do(visit: Visit) -> None:
    visit.open("#/", "What do you want to know")
    cards = visit.find("#statistics li")
    assert cards.count() >= len(STATISTICS)
    visit.find("#search").fill("rise or fall")
    assert cards.count() == 1
    cards.locator("a").click()
    visit.find("#ask-form").wait_for()
    assert visit.page.url.endswith("#/ask/trend")
    explained = visit.find("aside").text_content() or ""
    assert STATISTICS["trend"].formula.replace("`", "") in explained
    assert STATISTICS["trend"].source in explained


def test_a_statistic_of_one_s_own_has_a_form_by_itself(visit: Visit, server: RunningServer) -> None:
    visit.open("#/ask/echo")
    visit.field("value").fill("anything")
    job = visit.submit()
    visit.await_state("done")
    assert server.get(f"/api/get_results/{job}")["data"] == "anything"


def test_all_that_is_entered_is_asked_and_is_in_the_address(
    browser: Browser, server: RunningServer, visit: Visit
) -> None:
    visit.open("#/ask/describe")
    visit.choose("question", "obesity")
    visit.find(
        "[data-field=by] label",
    ).get_by_text("stratum").click()
    visit.find("[data-field=years] [data-part=from]").fill("2015")
    for state in ("ohio", "iowa"):
        visit.choose("states", state)
    visit.choose("category", "education")
    visit.find("summary").click()
    visit.field("priority").fill("7")
    entered = {
        "question": OBESITY,
        "by": "stratum",
        "years": [2015, max(server.get("/api/questions")["data"][0]["years"])],
        "states": ["Ohio", "Iowa"],
        "category": "Education",
        "priority": 7,
    }
    with visiting(browser, server) as other:
        other.open(f"#{visit.page.url.partition('#')[2]}")
        job = other.submit()
        assert server.get(f"/api/jobs/{job}")["data"]["request"] == entered
    assert server.get(f"/api/jobs/{visit.submit()}")["data"]["request"] == entered


def test_strata_are_those_of_the_category(visit: Visit, server: RunningServer) -> None:
    strata = {each["category"]: each["strata"] for each in server.get("/api/categories")["data"]}
    visit.open("#/ask/global_mean")
    visit.choose("category", "age (years)")
    visit.field("stratum").click()
    shown = visit.find("[data-field=stratum] [role=option] span").all_text_contents()
    assert shown == strata["Age (years)"]


def test_a_question_s_rows_and_direction_stand_beside_it(
    visit: Visit, server: RunningServer
) -> None:
    visit.open("#/ask/global_mean")
    visit.field("question").click()
    about = visit.find("[data-field=question] [role=option] small").all_text_contents()
    questions = server.get("/api/questions")["data"]
    for text, question in zip(about, questions, strict=True):
        assert f"{question['rows']:,} rows" in text
        assert text.startswith("less" if question["direction"] == "low" else "more")


def test_a_part_of_a_name_that_only_one_has_is_enough(visit: Visit, server: RunningServer) -> None:
    visit.open("#/ask/state_mean")
    visit.field("state").fill("hawa")
    visit.field("question").fill("no leisure")
    visit.field("question").press("Enter")
    request = server.get(f"/api/jobs/{visit.job_shown()}")["data"]["request"]
    assert request["state"] == "Hawaii"
    assert "no leisure-time" in request["question"]


# -- what is wrong --------------------------------------------------------------------


def newest_job(server: RunningServer) -> int:
    """The id of the job that was accepted last."""
    (job,) = server.get("/api/history?limit=1")["data"]
    return int(job["job_id"])


def test_what_is_missing_is_said_at_its_field_and_nothing_is_sent(
    visit: Visit, server: RunningServer
) -> None:
    visit.open("#/ask/state_mean")
    before = newest_job(server)
    visit.find("#submit").click()
    visit.find("[data-field=question] .wrong").get_by_text("Question is needed.").wait_for()
    assert visit.field("question").get_attribute("aria-invalid") == "true"
    assert visit.field("question").evaluate("field => field === document.activeElement")
    assert newest_job(server) == before


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("question", "obesty", "no question 'obesty'; nearest: "),
        ("n_resamples", "0", "Expected `int` >= 1"),
        ("confidence", "a lot", "Expected `float`, got `str`"),
        ("years", "1999", "the table has no year"),
    ],
)
def test_what_the_server_refuses_is_said_at_the_field(
    browser: Browser, server: RunningServer, name: str, text: str, reason: str
) -> None:
    with visiting(browser, server, expected=NOT_LOADED) as visit:
        visit.open("#/ask/bootstrap_ci")
        visit.choose("question", "obesity")
        visit.find("summary").click()
        visit.field(name).fill(text)
        if name == "years":
            visit.find("[data-part=to]").fill(text)
        visit.find("#submit").click()
        visit.find(f"[data-field={name}] .wrong").get_by_text(reason).wait_for()
        assert visit.field(name).get_attribute("aria-invalid") == "true"
        visit.find("[role=alert]").get_by_text(reason).wait_for()


# -- the table ------------------------------------------------------------------------


def test_the_table_sorts_by_each_column_both_ways_and_back(
    visit: Visit, server: RunningServer
) -> None:
    job = server.submit("describe", question=OBESITY, by="state")
    server.result(job)
    visit.open(f"#/jobs/{job}")
    visit.await_answer()
    table = table_of(server, job)
    column = table["columns"].index("sd")
    head = visit.find("#answer th[data-column=sd]")
    ascending = sorted(table["rows"], key=lambda row: row[column])
    for direction, rows in (
        ("ascending", ascending),
        ("descending", ascending[::-1]),
        (None, table["rows"]),
    ):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == direction
        assert visit.find("#answer th[aria-sort]").count() == (direction is not None)
        assert [row[0] for row in visit.rows()] == [row[0] for row in rows][:60]


def test_a_long_table_is_shown_in_pieces_and_searched_whole(
    visit: Visit, server: RunningServer
) -> None:
    job = server.submit("mean_by_category", question=OBESITY)
    server.result(job)
    visit.open(f"#/jobs/{job}")
    visit.await_answer()
    table = table_of(server, job)
    assert len(visit.rows()) == 60 < len(table["rows"])
    visit.find("#answer").get_by_role("button", name="more row").click()
    assert len(visit.rows()) == min(560, len(table["rows"]))
    visit.find("#answer input[type=search]").fill("wyoming grad")
    found = [row for row in table["rows"] if row[0] == "Wyoming" and "grad" in row[2].lower()]
    assert [row[2] for row in visit.rows()] == [row[2] for row in found]
