"""Descriptions, quantiles and weighted means are those of NumPy, pandas and statsmodels."""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.stats import STATISTICS, summaries
from server.stats.selection import groups, groups_of_share, select, shares
from server.stats.statistic import By, GroupedRequest, Json
from server.table import MISSING, NO_YEAR, Table
from tests.support import answers
from tests.support.real_tables import REAL, loaded_table, real_table
from tests.support.servers import ROOT
from tests.support.tables import Row, table_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import statsmodels.api as sm

QUESTION, OTHER = "Percent who run", "Percent who sit"
STATES = ("Alabama", "Ohio", "Utah", "Éire")
STRATA = ((None, None), ("Age (years)", "18 - 24"), ("Age (years)", "65+"), ("Sex", "Female"))
NAMES = ("describe", "quantiles", "weighted_mean")
BYS: tuple[By | None, ...] = (None, "state", "stratum", "year")
KEYS: dict[By | None, list[str]] = {
    None: [],
    "state": ["state"],
    "stratum": ["category", "stratum"],
    "year": ["year"],
}

VALUES = st.sampled_from([0.0, 0.1, 12.5, 33.3]) | st.floats(-1e9, 1e9)
ROWS = st.lists(
    st.builds(
        lambda question, state, division, year, value, weight: Row(
            question, state, *division, year, value, weight
        ),
        st.sampled_from([QUESTION, QUESTION, OTHER]),
        st.sampled_from(STATES),
        st.sampled_from(STRATA),
        st.sampled_from([None, 2011, 2012, 2022]),
        st.none() | VALUES,
        st.none() | st.integers(0, 500).map(float),
    ),
    max_size=40,
).map(lambda rows: [*rows, Row(QUESTION, "Ohio", None, None, 2011, None)])


def answer(name: str, table: Table, question: str = QUESTION, **fields: Any) -> list[Any]:
    """The records that a client reads."""
    data = answers.answer(STATISTICS[name], table, request(name, question, **fields))
    assert data.keys() == {"groups"}
    records: list[Any] = data["groups"]
    return records


def request(name: str, question: str = QUESTION, **fields: Any) -> Any:
    return msgspec.convert({"question": question, **fields}, STATISTICS[name].request)


def frame_of(table: Table, question: str = QUESTION) -> pd.DataFrame:
    """The rows of a question as a data frame; None stands for what is missing."""
    names = table.names
    rows = np.flatnonzero(table.question == names.code("question", question))
    name = {
        key: [None if code == MISSING else vocabulary[code] for code in getattr(table, key)[rows]]
        for key, vocabulary in (
            ("location", names.location),
            ("category", names.category),
            ("stratum", names.stratum),
        )
    }
    return pd.DataFrame(
        {
            "state": name["location"],
            "category": name["category"],
            "stratum": name["stratum"],
            "year": [None if year == NO_YEAR else int(year) for year in table.year[rows]],
            "value": table.value[rows],
            "weight": table.weight[rows],
        }
    )


def frames_by(frame: pd.DataFrame, by: By | None) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """Each group's label and rows, in the order of the labels."""
    if by is None:
        return [({}, frame)]
    keys = KEYS[by]
    return [
        (dict(zip(keys, [int(x) if by == "year" else x for x in label], strict=True)), group)
        for label, group in frame.groupby(keys)
    ]


# -- oracles --------------------------------------------------------------------------

near = pytest.approx


def exactly(value: float | None) -> Any:
    return None if value is None or not math.isfinite(value) else near(value, rel=1e-9, abs=1e-12)


def description(frame: pd.DataFrame) -> dict[str, Any]:
    value = frame["value"]
    n = len(value)
    scale = float(value.abs().max()) if n else 0.0
    # pandas squares the differences, and the squares of tiny ones are nothing.
    sd = scale * (value / scale).std(ddof=1) if scale else 0.0
    q1, median, q3 = np.quantile(value, (0.25, 0.5, 0.75)).tolist() if n else [None] * 3
    return {
        "n": n,
        "mean": near(value.mean(), rel=1e-9, abs=1e-12 * scale) if n else None,
        "sd": near(sd, rel=1e-7, abs=1e-12 * scale) if n > 1 else None,
        "min": value.min() if n else None,
        "q1": q1,
        "median": median,
        "q3": q3,
        "max": value.max() if n else None,
    }


def some_quantiles(frame: pd.DataFrame, asked: Sequence[float]) -> dict[str, Any]:
    n = len(frame)
    found = np.quantile(frame["value"], asked).tolist() if n else [None] * len(asked)
    return {
        "n": n,
        "quantiles": [
            {"probability": p, "value": value} for p, value in zip(asked, found, strict=True)
        ],
    }


def weighted(frame: pd.DataFrame) -> dict[str, Any]:
    """By statsmodels: a weighted regression on nothing but a constant."""
    rows = frame[frame["weight"] > 0]
    n = len(rows)
    record: dict[str, Any] = {
        "n": n,
        "n_without_weight": len(frame) - n,
        "weight": exactly(float(rows["weight"].sum())),
        "mean": None,
        "standard_error": None,
    }
    if n:
        scale = float(rows["value"].abs().max())
        value, weight = rows["value"].to_numpy(), rows["weight"].to_numpy()
        record["mean"] = near(np.average(value, weights=weight), rel=1e-9, abs=1e-12 * scale)
        if n > 1:
            unit = scale or 1.0  # squares of tiny differences are nothing to statsmodels, too
            fit = sm.WLS(value / unit, np.ones(n), weights=weight).fit(cov_type="HC1")
            record["standard_error"] = near(unit * fit.bse[0], rel=1e-7, abs=1e-9 * scale)
    return record


ORACLES: dict[str, Callable[[pd.DataFrame], dict[str, Any]]] = {
    "describe": description,
    "quantiles": lambda frame: some_quantiles(frame, (0.25, 0.5, 0.75)),
    "weighted_mean": weighted,
}


def assert_agrees(name: str, table: Table, question: str, by: By | None) -> None:
    expected = [
        {**label, **ORACLES[name](group)}
        for label, group in frames_by(frame_of(table, question), by)
    ]
    found = answer(name, table, question, by=by)
    assert found == expected
    for ours, theirs in zip(found, expected, strict=True):
        assert list(ours) == list(theirs)


@pytest.mark.parametrize("name", NAMES)
@given(rows=ROWS, by=st.sampled_from(BYS))
def test_every_group_of_an_invented_table_agrees_with_the_oracle(
    name: str, by: By | None, rows: list[Row]
) -> None:
    assert_agrees(name, table_of(rows), QUESTION, by)


@pytest.mark.parametrize("by", BYS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", REAL)
def test_every_group_of_a_real_table_agrees_with_the_oracle(
    data: str, name: str, by: By | None
) -> None:
    table = real_table(data)
    for question in table.names.question[::3]:
        assert_agrees(name, table, question, by)


@pytest.mark.parametrize("by", BYS)
@pytest.mark.parametrize("name", NAMES)
def test_every_group_of_the_sample_agrees_with_the_oracle(name: str, by: By | None) -> None:
    table = loaded_table(ROOT / "data" / "sample.csv.gz")
    assert_agrees(name, table, table.names.question[-1], by)


# -- what every answer keeps ----------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(rows=ROWS, by=st.sampled_from(BYS))
def test_measurements_are_finite_floats_and_counts_are_ints(
    name: str, by: By | None, rows: list[Row]
) -> None:
    statistic, table = STATISTICS[name], table_of(rows)
    asked = request(name, by=by)
    parts = statistic.plan(table, asked)
    data = statistic.combine(table, asked, [statistic.partial(table, asked, p) for p in parts])
    assert msgspec.json.decode(msgspec.json.encode(data)) == data
    for record in data["groups"]:
        for key, value in record.items():
            counts = key.startswith("n") or key == "year"
            for leaf in leaves(value):
                assert leaf is None or type(leaf) is (int if counts else float) or type(leaf) is str
                assert not isinstance(leaf, float) or math.isfinite(leaf)


def leaves(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [leaf for each in value for leaf in leaves(each)]
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in leaves(each)]
    return [value]


@settings(max_examples=40)
@given(rows=ROWS)
def test_a_description_is_in_order_and_its_mean_within(rows: list[Row]) -> None:
    for record in answer("describe", table_of(rows), by="state"):
        steps = [record[key] for key in ("min", "q1", "median", "q3", "max")]
        assert steps == sorted(steps)
        assert record["min"] <= record["mean"] <= record["max"]


@settings(max_examples=40)
@given(rows=ROWS, asked=st.lists(st.floats(0, 1), min_size=1, max_size=100))
def test_quantiles_are_those_asked_in_the_order_asked(rows: list[Row], asked: list[float]) -> None:
    table = table_of(rows)
    (record,) = answer("quantiles", table, probabilities=asked)
    assert record == some_quantiles(frame_of(table), asked)


@settings(max_examples=40)
@given(rows=ROWS, by=st.sampled_from(BYS))
def test_a_filter_gives_the_records_of_the_rows_it_lets_through(
    rows: list[Row], by: By | None
) -> None:
    kept = [
        row
        for row in rows
        if row.location in ("Ohio", "Utah") and row.year is not None and row.year < 2020
    ]
    known = [Row(QUESTION, state, None, None, 2011, None) for state in STATES]
    filters: dict[str, Any] = {"states": ["Ohio", "Utah"], "years": [2011, 2019]}
    for name in NAMES:
        filtered = answer(name, table_of([*rows, *known]), by=by, **filters)
        assert filtered == answer(name, table_of([*kept, *known]), by=by)


# -- the edges ------------------------------------------------------------------------


def described(*values: float) -> Any:
    rows = [Row(QUESTION, "Ohio", None, None, 2011, value) for value in values]
    (record,) = answer("describe", table_of([*rows, Row(QUESTION, "Ohio", None, None, 2011, None)]))
    return record


def test_no_row_has_no_figures() -> None:
    assert described() == {"n": 0} | dict.fromkeys(
        ("mean", "sd", "min", "q1", "median", "q3", "max")
    )
    table = table_of([Row(QUESTION, "Ohio", None, None, 2011, None)])
    assert answer("quantiles", table, probabilities=[0.5]) == [
        {"n": 0, "quantiles": [{"probability": 0.5, "value": None}]}
    ]
    for name in NAMES:
        for by in ("state", "stratum", "year"):
            assert answer(name, table, by=by) == []


def test_one_row_has_no_deviation() -> None:
    same = dict.fromkeys(("mean", "min", "q1", "median", "q3", "max"), 33.0)
    assert described(33.0) == {"n": 1, "sd": None, **same}


@pytest.mark.parametrize("value", [0.1, 1 / 3, -7e200, 1e-320])
@pytest.mark.parametrize("n", [2, 3, 7, 1000])
def test_equal_values_have_exactly_no_deviation(value: float, n: int) -> None:
    same = dict.fromkeys(("mean", "min", "q1", "median", "q3", "max"), value)
    assert described(*[value] * n) == {"n": n, "sd": 0.0, **same}


def test_a_deviation_keeps_its_digits_far_from_zero() -> None:
    assert described(1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16)["sd"] == near(math.sqrt(30), rel=1e-12)


def test_a_figure_beyond_what_a_float_holds_is_none() -> None:
    with np.errstate(over="ignore"):
        record = described(-1.7e308, 1.7e308)
    assert record["sd"] is None
    assert (record["min"], record["median"], record["max"]) == (-1.7e308, 0.0, 1.7e308)


def test_a_mean_whose_sum_no_float_holds_is_none() -> None:
    with np.errstate(over="ignore"):
        record = described(1e308, 1.5e308)
    assert record["mean"] is record["sd"] is None
    assert (record["min"], record["median"], record["max"]) == (1e308, 1.25e308, 1.5e308)


@pytest.mark.parametrize("factor", [1e-300, 1e-200, 1e200, 1e300])
def test_the_unit_of_the_values_does_not_matter(factor: float) -> None:
    values, weights = (1.0, 2.0, 7.0), (3.0, 5.0, 4.0)
    plain, scaled = described(*values), described(*(x * factor for x in values))
    assert scaled["sd"] / factor == near(plain["sd"])
    plain, scaled = (
        weigh(*((x * each, w) for x, w in zip(values, weights, strict=True)))
        for each in (1.0, factor)
    )
    assert scaled["mean"] / factor == near(plain["mean"])
    assert scaled["standard_error"] / factor == near(plain["standard_error"])


def test_rows_without_a_stratum_or_year_are_in_no_such_group() -> None:
    table = table_of(
        [
            Row(QUESTION, "Ohio", None, None, 2011, 1.0),
            Row(QUESTION, "Ohio", "Sex", "Female", None, 2.0),
        ]
    )
    assert [each["n"] for each in answer("describe", table)] == [2]
    (by_stratum,) = answer("describe", table, by="stratum")
    (by_year,) = answer("describe", table, by="year")
    assert (by_stratum["category"], by_stratum["stratum"]) == ("Sex", "Female")
    assert (by_stratum["mean"], by_year["mean"]) == (2.0, 1.0)
    assert by_year["year"] == 2011


# -- weights --------------------------------------------------------------------------


def weigh(*pairs: tuple[float, float | None]) -> Any:
    rows = [Row(QUESTION, "Ohio", None, None, 2011, value, weight) for value, weight in pairs]
    (record,) = answer("weighted_mean", table_of(rows))
    return record


def test_rows_without_weight_or_of_weight_zero_are_reported_and_do_not_count() -> None:
    counted = weigh((1.0, 1.0), (4.0, 3.0))
    assert counted == {
        "n": 2,
        "n_without_weight": 0,
        "weight": 4.0,
        "mean": 3.25,
        "standard_error": near(math.sqrt(2 * (2.25**2 + 2.25**2)) / 4),
    }
    assert weigh((1.0, 1.0), (9.0, None), (4.0, 3.0), (7.0, 0.0)) == {
        **counted,
        "n_without_weight": 2,
    }


def test_a_table_without_weights_has_no_weighted_mean() -> None:
    assert weigh((1.0, None), (2.0, None)) == {
        "n": 0,
        "n_without_weight": 2,
        "weight": 0.0,
        "mean": None,
        "standard_error": None,
    }


def test_one_weighted_row_has_a_mean_and_no_error() -> None:
    assert weigh((5.5, 20.0))["mean"] == 5.5
    assert weigh((5.5, 20.0))["standard_error"] is None


@pytest.mark.parametrize("value", [0.1, 1 / 3, 7e200])
def test_equal_values_have_exactly_no_error(value: float) -> None:
    record = weigh((value, 0.1), (value, 7.7), (value, 13.0))
    assert (record["mean"], record["standard_error"]) == (value, 0.0)


def test_equal_weights_give_the_mean_and_the_usual_error() -> None:
    values = np.random.default_rng(5).normal(30, 8, 50)
    record = weigh(*((value, 3.0) for value in values.tolist()))
    assert record["mean"] == near(values.mean())
    assert record["standard_error"] == near(values.std(ddof=1) / math.sqrt(50))


@pytest.mark.parametrize("factor", [1e-300, 1e-12, 1000.0, 1e150, 1e300, 3e307])
def test_the_unit_of_the_weights_does_not_matter(factor: float) -> None:
    pairs = [(1.0, 3.0), (2.0, 5.0), (7.0, 4.0)]
    plain, scaled = weigh(*pairs), weigh(*((x, w * factor) for x, w in pairs))
    for key in ("n", "mean", "standard_error"):
        assert scaled[key] == near(plain[key])


def test_about_95_of_100_intervals_of_two_errors_hold_the_true_mean() -> None:
    source = np.random.default_rng(20260212)
    rows = [
        Row(QUESTION, f"State {number:03}", None, None, 2011, value, weight)
        for number in range(400)
        for value, weight in zip(
            source.normal(30, 8, 60).tolist(), source.uniform(50, 500, 60).tolist(), strict=True
        )
    ]
    records = answer("weighted_mean", table_of(rows), by="state")
    covered = sum(abs(each["mean"] - 30) < 2 * each["standard_error"] for each in records)
    assert 0.92 < covered / len(records) < 0.98


# -- limits of a request --------------------------------------------------------------


@pytest.mark.parametrize("wrong", [[], [0.5] * 101, [-0.01], [1.5], ["0.5"], 0.5])
def test_probabilities_beyond_the_limits_are_refused(wrong: Any) -> None:
    with pytest.raises(msgspec.ValidationError, match="probabilities"):
        request("quantiles", probabilities=wrong)


def test_the_extremes_are_quantiles_too() -> None:
    table = table_of([Row(QUESTION, "Ohio", None, None, 2011, value) for value in (3.0, 1.0, 2.0)])
    (record,) = answer("quantiles", table, probabilities=[1, 0])
    assert [each["value"] for each in record["quantiles"]] == [3.0, 1.0]


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_are_answered_from_the_sample(name: str) -> None:
    table = loaded_table(ROOT / "data" / "sample.csv.gz")
    example = dict(STATISTICS[name].example)
    records = answer(name, table, **example)
    assert [record["state"] for record in records] == ["Michigan", "Ohio"]
    assert all(record["n"] > 20 for record in records)


# -- parts ----------------------------------------------------------------------------


def backwards(places: Sequence[Json]) -> Sequence[Json]:
    return list(reversed(places))


@pytest.mark.parametrize("by", ["state", "stratum", "year"])
@pytest.mark.parametrize("name", NAMES)
def test_many_parts_in_any_order_give_the_digits_of_one(
    name: str, by: By, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = loaded_table(ROOT / "data" / "sample.csv.gz")
    question = table.names.question[-1]
    asked = request(name, question, by=by)
    whole = answers.answer(STATISTICS[name], table, asked)
    monkeypatch.setattr(summaries, "ROWS_PER_PART", 50)
    assert len(STATISTICS[name].plan(table, asked)) > 20
    for order in (list, backwards):
        assert answers.answer(STATISTICS[name], table, asked, in_order=order) == whole


@settings(max_examples=40)
@given(rows=ROWS, by=st.sampled_from(BYS), size=st.integers(1, 50))
def test_every_group_is_in_exactly_one_part_and_parts_are_neighbours(
    rows: list[Row], by: By | None, size: int
) -> None:
    table = table_of(rows)
    selection = select(table, GroupedRequest(QUESTION), QUESTION)
    parts = shares(table, QUESTION, by, size)
    spread = [group for part in parts for group in groups_of_share(selection, by, part)]
    assert [group.label for group in spread] == [group.label for group in groups(selection, by)]
    assert len(parts) <= max(1, math.ceil(selection.n / size))


def test_parts_have_about_as_many_rows_as_they_should() -> None:
    rows = [
        Row(QUESTION, f"State {state:02}", None, None, year, 1.0)
        for state in range(50)
        for year in range(2000, 2020)
    ]
    table = table_of(rows)
    selection = select(table, GroupedRequest(QUESTION), QUESTION)
    parts = shares(table, QUESTION, "state", 100)
    sizes = [
        sum(group.selection.n for group in groups_of_share(selection, "state", part))
        for part in parts
    ]
    assert sizes == [100] * 10


def test_a_plan_has_one_part_where_there_is_one_group_or_little_work() -> None:
    table = table_of([Row(QUESTION, state, None, None, 2011, 1.0) for state in STATES])
    assert len(shares(table, QUESTION, None, 1)) == 1
    assert len(shares(table, QUESTION, "state", 4)) == 1
    assert len(shares(table, QUESTION, "state", 3)) == 2
