"""The stability of a ranking is that of plain loops over the same draws, and ties go by name."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.loader import load_region
from server.shared_data import attach_table
from server.stats import STATISTICS, ranking
from server.stats.ranking import RankingRequest
from server.stats.statistic import QuestionRequest, Unanswerable
from server.table import Table
from tests.support.answers import answer
from tests.support.tables import Row, table_of

ROOT = Path(__file__).parents[2]
LOW, HIGH = "Percent who sit", "Percent who run"
REAL = ("cdc_brfss_2011_2021.csv.gz", "cdc_brfss_2011_2023.csv.gz")
OBESITY = "Percent of adults aged 18 years and older who have obesity"

Values = Sequence[float]


def states(question: str = LOW, /, **values: Values) -> Table:
    """A table of these states, each with these values, and `Empty`, which has none."""
    rows = [
        Row(question, state, None, None, 2011, v) for state, each in values.items() for v in each
    ]
    return table_of([*rows, Row(question, "Empty", None, None, 2011, None)], better_low=[LOW])


def ask(table: Table, *, how: Callable[..., Any] = answer, **fields: Any) -> Any:
    request = RankingRequest(**{"question": LOW, "seed": 1, "n_resamples": 999} | fields)
    return how(STATISTICS["ranking_stability"], table, request)


def drawn(seed: int, n: int, mean: float = 30.0) -> list[float]:
    """`n` figures with one decimal, as surveys give them."""
    return np.random.default_rng(seed).normal(mean, 8, n).round(1).tolist()


SEVEN = {name: drawn(at, 10 + 3 * at, 28 + at) for at, name in enumerate("GCAFBED")}


# -- the same, one resample at a time -------------------------------------------------


def ranks_of(
    values: dict[str, Values], low: bool, resamples: int, seed: int, chunk: int
) -> pd.DataFrame:
    """The rank of each state (column) in each resample (row), drawn and ranked one by one."""
    rows = []
    for part in range(math.ceil(resamples / chunk)):
        streams = {
            state: np.random.Generator(
                np.random.PCG64DXSM(np.random.SeedSequence(seed, spawn_key=(number, part)))
            )
            for number, state in enumerate(sorted(values))
        }
        for _ in range(min(chunk, resamples - part * chunk)):
            means = {}
            for state, stream in streams.items():
                series = pd.Series(values[state])
                picked = stream.integers(0, len(series), size=len(series))
                means[state] = round(series.iloc[picked].mean(), 8)
            order = sorted(means, key=lambda name: (means[name] if low else -means[name], name))
            rows.append({state: rank for rank, state in enumerate(order, 1)})
    return pd.DataFrame(rows)


@pytest.fixture
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a few resamples, drawn in blocks of fewer."""
    monkeypatch.setattr(ranking, "_PART_DRAWS", 5000)
    monkeypatch.setattr(ranking, "_BLOCK_DRAWS", 300)


@pytest.mark.usefixtures("short_parts")
@pytest.mark.parametrize("question", [LOW, HIGH])
def test_plain_loops_over_the_same_draws_say_the_same(question: str) -> None:
    chunk = 5000 // sum(map(len, SEVEN.values()))
    ranks = ranks_of(SEVEN, question == LOW, 150, 5, chunk)
    assert 3 * chunk < 150
    found = ask(states(question, **SEVEN), question=question, n_resamples=150, seed=5)
    for each in found["groups"]:
        of_state = ranks[each["state"]]
        assert each["share_in_best5"] == pytest.approx((of_state <= 5).mean())
        low, high = np.quantile(of_state, [0.025, 0.975], method="inverted_cdf")
        assert (each["rank_low"], each["rank_high"]) == (low, high)
    means = {state: np.mean(values) for state, values in SEVEN.items()}
    order = sorted(means, key=lambda state: means[state], reverse=question == HIGH)
    assert [each["state"] for each in found["groups"]] == order


ORDERS: list[Callable[[Sequence[Any]], Sequence[Any]]] = [
    lambda parts: parts[::-1],
    lambda parts: [*parts[1::2], *parts[::2]],
]


@pytest.mark.usefixtures("short_parts")
@pytest.mark.parametrize("fan_in", [2, 3, 64])
def test_parts_in_any_order_and_merged_in_any_number_give_the_same(fan_in: int) -> None:
    table = states(**SEVEN)
    expected = ask(table)
    for order in ORDERS:

        def how(statistic: Any, table: Table, request: Any, order: Any = order) -> Any:
            assert len(statistic.plan(table, request)) > 20
            return answer(statistic, table, request, fan_in, order)

        assert ask(table, how=how) == expected


@pytest.mark.usefixtures("short_parts")
def test_a_merged_partial_has_the_counts_of_all_and_a_bounded_size() -> None:
    table, statistic = states(**SEVEN), STATISTICS["ranking_stability"]
    request = RankingRequest(question=LOW, n_resamples=999, seed=1)
    partials = [statistic.partial(table, request, part) for part in statistic.plan(table, request)]
    assert statistic.merge is not None
    places, counts = statistic.merge(request, partials)
    assert sum(counts) == 999 * 7
    assert len(places) == len(counts) <= 7 * 7
    assert statistic.merge(request, [[places, counts]]) == [places, counts]
    assert statistic.merge(request, []) == [[], []]


def test_the_same_seed_gives_the_same_and_another_one_another() -> None:
    found = [ask(states(**SEVEN), seed=seed)["groups"] for seed in (5, 5, 6)]
    assert found[0] == found[1] != found[2]


# -- what the figures mean ------------------------------------------------------------

TENTHS = st.lists(st.integers(0, 60).map(lambda n: n / 10), min_size=1, max_size=4)
TABLES = st.dictionaries(st.sampled_from("ABCDEFGH"), TENTHS, min_size=1)


@settings(max_examples=60)
@given(values=TABLES, question=st.sampled_from([LOW, HIGH]), resamples=st.integers(1, 60))
def test_ranks_are_those_of_best5_and_shares_add_up(
    values: dict[str, list[float]], question: str, resamples: int
) -> None:
    table = states(question, **values)
    found = ask(table, question=question, n_resamples=resamples)["groups"]
    assert [each["rank"] for each in found] == [*range(1, len(values) + 1)]
    shares = [each["share_in_best5"] for each in found]
    assert sum(shares) == pytest.approx(min(5, len(values)))
    for each in found:
        assert each["n"] == len(values[each["state"]])
        assert 0 <= each["share_in_best5"] <= 1
        assert 1 <= each["rank_low"] <= each["rank_high"] <= len(values)
    best = answer(STATISTICS["best5"], table, QuestionRequest(question=question))
    for ours, theirs in zip(found, best, strict=False):
        assert ours["mean"] == pytest.approx(best[theirs], abs=1e-9)


@pytest.mark.parametrize("question", [LOW, HIGH])
def test_states_that_are_equal_in_each_resample_are_in_the_order_of_their_names(
    question: str,
) -> None:
    names = "ABCDEFGHIJKLMNOPQRSTUVWX"
    values = {name: [0.1] * (1 + at) for at, name in enumerate(reversed(names))}
    assert len({sum(each) / len(each) for each in values.values()}) > 1, "but for rounding"
    found = ask(states(question, **values), question=question)["groups"]
    assert [
        (each["state"], each["rank"], each["share_in_best5"], each["rank_low"], each["rank_high"])
        for each in found
    ] == [(name, rank, float(rank <= 5), rank, rank) for rank, name in enumerate(names, 1)]


def test_means_tie_where_rounding_has_them_on_either_side_of_a_half() -> None:
    first = [64.0, 15.5, 13.4, 13.9, 31.8, 39.1, 37.8, 30.0]
    first += [39.0, 36.1, 10.4, 13.5, 35.9, 12.4, 39.4, 34.8]
    other = [10.4, 39.4, 39.0, 15.5, 13.5, 12.4, 35.9, 36.1]
    other += [13.9, 37.8, 39.1, 31.8, 13.4, 34.8, 30.0, 64.0]
    found = ask(states(HIGH, A=first, B=other), question=HIGH)["groups"]
    assert sorted(first) == sorted(other)
    assert found[0]["mean"] < found[1]["mean"], "but only for rounding"
    assert [each["state"] for each in found] == ["A", "B"]


def test_many_ties_go_by_name_too() -> None:
    names = [f"S{at:02}" for at in range(60)]
    values = {name: [0.1 if at % 3 else 0.2] * (1 + at % 7) for at, name in enumerate(names)}
    found = ask(states(**values), n_resamples=5)["groups"]
    order = sorted(names, key=lambda name: (values[name][0], name))
    assert [each["state"] for each in found] == order
    assert all(each["rank_low"] == each["rank"] == each["rank_high"] for each in found)


def test_a_rank_that_is_never_another_has_an_interval_of_itself() -> None:
    values = {name: [10.0 * at, 10.0 * at + 1] for at, name in enumerate("ABCDEFG")}
    for question, order in ((LOW, "ABCDEFG"), (HIGH, "GFEDCBA")):
        found = ask(states(question, **values), question=question)["groups"]
        for rank, (each, name) in enumerate(zip(found, order, strict=True), 1):
            assert each == {
                "state": name,
                "n": 2,
                "mean": 10.0 * "ABCDEFG".index(name) + 0.5,
                "rank": rank,
                "share_in_best5": float(rank <= 5),
                "rank_low": rank,
                "rank_high": rank,
            }


def test_an_interval_leaves_out_less_than_its_tails() -> None:
    """One of two equal halves is on top, so each rank has about half of the resamples."""
    values = {"A": [0.0, 1.0], "B": [0.4, 0.6]}
    found = ask(states(**values), confidence=0.95)["groups"]
    assert all((each["rank_low"], each["rank_high"]) == (1, 2) for each in found)
    narrow = ask(states(**values), confidence=0.01)["groups"]
    assert all(each["rank_low"] == each["rank_high"] for each in narrow)
    widest = ask(states(**values), confidence=1 - 1e-15)["groups"]
    assert all((each["rank_low"], each["rank_high"]) == (1, 2) for each in widest)


def test_a_tail_of_whole_resamples_is_counted_whole() -> None:
    request = RankingRequest(question=LOW, n_resamples=1000, confidence=0.95, seed=1)
    reached = np.cumsum([25, 950, 24, 1])
    assert ranking._stability(reached, request)["rank_low"] == 1
    assert ranking._stability(reached, request)["rank_high"] == 2
    less = np.cumsum([24, 950, 26, 0])
    assert ranking._stability(less, request)["rank_low"] == 2
    assert ranking._stability(less, request)["rank_high"] == 3


def test_a_rank_that_never_was_is_in_no_interval() -> None:
    request = RankingRequest(question=LOW, n_resamples=10, confidence=1 - 1e-12, seed=1)
    found = ranking._stability(np.cumsum([0, 9, 1, 0]), request)
    assert (found["rank_low"], found["rank_high"]) == (2, 3)


def test_intervals_have_the_true_rank_about_as_often_as_they_say() -> None:
    centres, covered, trials = np.arange(6) * 4.0, 0, 60
    for trial in range(trials):
        values = {
            name: drawn(100 * trial + at, 40, centre)
            for at, (name, centre) in enumerate(zip("ABCDEF", centres, strict=True))
        }
        for each in ask(states(**values), n_resamples=399, confidence=0.9, seed=trial)["groups"]:
            true = "ABCDEF".index(each["state"]) + 1
            covered += each["rank_low"] <= true <= each["rank_high"]
    assert covered / (6 * trials) > 0.9


# -- edges, filters, limits -----------------------------------------------------------


def test_without_rows_nobody_has_a_rank() -> None:
    found = ask(states(), n_resamples=5, confidence=0.5)
    assert found == {"groups": [], "n_resamples": 5, "confidence": 0.5, "seed": 1}


def test_one_state_is_the_first() -> None:
    (only,) = ask(states(Ohio=[1.0, 4.0]))["groups"]
    assert only == {
        "state": "Ohio",
        "n": 2,
        "mean": 2.5,
        "rank": 1,
        "share_in_best5": 1.0,
        "rank_low": 1,
        "rank_high": 1,
    }


@pytest.mark.parametrize("scale", [1e-300, 1e300, 1e308])
def test_the_unit_of_the_values_does_not_matter(scale: float) -> None:
    values = {"A": [1.5], "B": [1.5, -1.5, 0.3], "C": [-1.7, 0.6, 1.0]}
    plain = ask(states(**values))
    with np.errstate(over="ignore"):
        scaled = ask(states(**{name: [v * scale for v in each] for name, each in values.items()}))
    for one, other in zip(plain["groups"], scaled["groups"], strict=True):
        assert {**other, "mean": 0.0} == {**one, "mean": 0.0}


def test_zeros_have_ranks_too() -> None:
    found = ask(states(B=[0.0], A=[0.0, 0.0]))["groups"]
    assert [each["state"] for each in found] == ["A", "B"]


def test_filters_say_which_rows_count() -> None:
    table = table_of(
        [
            Row(LOW, "Ohio", "Sex", "Male", 2011, 1.0),
            Row(LOW, "Ohio", None, None, None, 9.0),
            Row(LOW, "Utah", "Sex", "Male", 2011, 3.0),
            Row(LOW, "Utah", "Sex", "Female", 2012, 1.0),
            Row(LOW, "Yap", "Age", "Total", 2012, 0.0),
        ],
        better_low=[LOW],
    )

    def means(**fields: Any) -> dict[str, float]:
        return {each["state"]: each["mean"] for each in ask(table, **fields)["groups"]}

    assert means() == {"Yap": 0.0, "Utah": 2.0, "Ohio": 5.0}
    assert means(category="Sex") == {"Ohio": 1.0, "Utah": 2.0}
    assert means(years=(2011, 2012)) == {"Yap": 0.0, "Ohio": 1.0, "Utah": 2.0}
    assert means(stratum="Male", states=("Utah",)) == {"Utah": 3.0}


def test_ranks_that_are_too_many_to_be_kept_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    statistic = STATISTICS["ranking_stability"]
    counties = states(**{f"County {at}": [float(at), 1.0] for at in range(1_000)})
    parts = statistic.plan(counties, RankingRequest(question=LOW, n_resamples=9_999))
    assert len(parts) == 2
    with pytest.raises(Unanswerable, match="the ranks of 1000 states"):
        statistic.plan(counties, RankingRequest(question=LOW, n_resamples=99_999))
    monkeypatch.setattr(ranking, "MOST_RANKS", 999_999)
    with pytest.raises(Unanswerable, match="name fewer states"):
        statistic.plan(counties, RankingRequest(question=LOW, n_resamples=1))


def test_what_a_part_gives_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    statistic = STATISTICS["ranking_stability"]
    table = states(**{f"County {at}": drawn(at, 20) for at in range(300)})
    monkeypatch.setattr(ranking, "_PART_DRAWS", 300 * 20 * 100)
    request = RankingRequest(question=LOW, n_resamples=100, seed=1)
    (part,) = statistic.plan(table, request)
    places, _ = partial = statistic.partial(table, request, part)
    assert len(msgspec.json.encode(partial)) < 5.5 * len(places)


def test_too_many_parts_are_refused_and_a_plan_is_lazy(monkeypatch: pytest.MonkeyPatch) -> None:
    statistic, table = STATISTICS["ranking_stability"], states(**SEVEN)
    request = RankingRequest(question=LOW, n_resamples=10_000_000, seed=1)
    assert isinstance(statistic.plan(table, request), range)
    monkeypatch.setattr(ranking, "_PART_DRAWS", 5000)
    with pytest.raises(Unanswerable, match="ask for fewer resamples"):
        statistic.plan(table, request)


@pytest.mark.parametrize(
    "fields", [{"n_resamples": 0}, {"n_resamples": 10_000_001}, {"confidence": 1}, {"by": "state"}]
)
def test_what_is_beyond_the_limits_is_no_request(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"question": LOW} | fields, RankingRequest)


# -- the shipped table and the real ones ----------------------------------------------


def test_the_example_has_an_answer_on_the_shipped_table() -> None:
    statistic = STATISTICS["ranking_stability"]
    with load_region(ROOT / "data" / "sample.csv.gz", ROOT / "data" / "cdc_brfss.toml") as region:
        table = attach_table(region.fd)
        request = msgspec.convert(dict(statistic.example), RankingRequest)
        found = answer(statistic, table, request)
        best = answer(STATISTICS["best5"], table, QuestionRequest(question=OBESITY))
    assert [each["state"] for each in found["groups"][:5]] == list(best)


@pytest.fixture(scope="module", params=REAL)
def real(request: pytest.FixtureRequest) -> Iterator[Table]:
    folder = os.environ.get("SPORTIV_TEST_DATA")
    if not folder:
        pytest.skip("SPORTIV_TEST_DATA does not name a folder with the real CDC tables")
    data = Path(folder) / request.param
    with load_region(data, ROOT / "data" / "cdc_brfss.toml") as region:
        yield attach_table(region.fd)


def test_on_real_tables_the_first_five_are_best5_of_each_question(real: Table) -> None:
    for question in real.names.question:
        found = ask(real, question=question, n_resamples=9)["groups"]
        best = answer(STATISTICS["best5"], real, QuestionRequest(question=question))
        assert [each["state"] for each in found[:5]] == list(best)
        assert [each["mean"] for each in found[:5]] == pytest.approx(list(best.values()))


def test_on_real_tables_ranks_are_spread_as_normal_means_would_be(real: Table) -> None:
    code = real.names.code("question", OBESITY)
    rows = pd.DataFrame({"state": real.location, "value": real.value})[real.question == code]
    grouped = rows.groupby("state")["value"]
    means, errors = grouped.mean(), grouped.std(ddof=0) / np.sqrt(grouped.size())
    simulated = np.random.default_rng(3).normal(means, errors, size=(4000, len(means)))
    ranks = simulated.argsort(axis=1).argsort(axis=1) + 1
    expected = {
        real.names.location[state]: share
        for state, share in zip(means.index, (ranks <= 5).mean(axis=0), strict=True)
    }
    for each in ask(real, question=OBESITY, n_resamples=2000)["groups"]:
        assert each["share_in_best5"] == pytest.approx(expected[each["state"]], abs=0.06)
