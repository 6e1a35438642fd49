"""Trends are those of SciPy, and what is undefined is None."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from server.stats import STATISTICS, trends
from server.stats.selection import groups, select
from server.stats.statistic import Json
from server.table import NO_YEAR, Table
from tests.support import answers
from tests.support.real_tables import REAL, loaded_table, real_table
from tests.support.servers import ROOT
from tests.support.tables import Row, table_of

QUESTION = "Percent who run"
STRATA = ((None, None), ("Age (years)", "18 - 24"), ("Sex", "Female"))
BYS = (None, "state", "stratum")
TREND = STATISTICS["trend"]
FIGURES = (
    *("slope", "standard_error", "ci_low", "ci_high", "p_value", "r_squared"),
    *("theil_sen_slope", "theil_sen_low", "theil_sen_high"),
)
COUNTS = ("n", "n_without_year", "first_year", "last_year")
BAND = ("fitted", "band_low", "band_high")

ROWS = st.lists(
    st.builds(
        lambda state, division, year, value: Row(QUESTION, state, *division, year, value),
        st.sampled_from(["Ohio", "Utah"]),
        st.sampled_from(STRATA),
        st.sampled_from([None, 2011, 2012, 2015, 2022]),
        st.sampled_from([0.0, 0.1, 12.5, 33.3])
        | st.integers(-(10**9), 10**9).map(lambda n: n / 1e3),
    ),
    max_size=40,
).map(lambda rows: [*rows, Row(QUESTION, "Ohio", None, None, 2011, None)])


def request(question: str = QUESTION, **fields: Any) -> Any:
    return msgspec.convert({"question": question, **fields}, TREND.request)


def answer(table: Table, question: str = QUESTION, **fields: Any) -> list[Any]:
    data = answers.answer(TREND, table, request(question, **fields))
    assert data.keys() == {"confidence", "groups"}
    records: list[Any] = data["groups"]
    return records


def trend_of(*points: tuple[int | None, float], **fields: Any) -> Any:
    rows = [Row(QUESTION, "Ohio", None, None, year, value) for year, value in points]
    (record,) = answer(table_of([*rows, Row(QUESTION, "Ohio", None, None, 2011, None)]), **fields)
    return record


# -- SciPy ----------------------------------------------------------------------------


def assert_agrees(table: Table, question: str, by: Any, confidence: float = 0.95) -> None:
    found = answer(table, question, by=by, confidence=confidence)
    expected = groups(select(table, request(question), question), by)
    assert len(found) == len(expected)
    for record, (label, selection) in zip(found, expected, strict=True):
        assert list(record) == [*label, *COUNTS, *FIGURES, "years"]
        assert {key: record[key] for key in label} == label
        rows = selection.rows()
        dated = rows.year != NO_YEAR
        years, values = rows.year[dated].astype(np.float64), rows.value[dated]
        assert (record["n"], record["n_without_year"]) == (len(years), sum(~dated))
        if len(years):
            assert (record["first_year"], record["last_year"]) == (years.min(), years.max())
        assert_are_years(record, years, values)
        if len(set(years)) > 1:
            assert_is_line(record, years, values, confidence)
            assert_is_robust(record, years, values, confidence)
        else:
            assert all(record[key] is None for key in FIGURES)


def assert_are_years(record: Any, years: Any, values: Any) -> None:
    """Each year with its rows and their mean."""
    assert [each["year"] for each in record["years"]] == sorted(set(years))
    for each in record["years"]:
        of_year = values[years == each["year"]]
        assert each["n"] == len(of_year)
        assert each["mean"] == pytest.approx(of_year.mean(), rel=1e-12, abs=1e-9)
        assert of_year.min() <= each["mean"] <= of_year.max()


def assert_is_line(record: Any, years: Any, values: Any, confidence: float) -> None:
    if values.min() == values.max():
        assert (record["slope"], record["r_squared"]) == (0.0, None)
        return
    theirs = stats.linregress(years, values)
    scale = float(np.abs(values).max())
    assert record["slope"] == pytest.approx(theirs.slope, rel=1e-9, abs=1e-12 * scale)
    assert record["r_squared"] == pytest.approx(theirs.rvalue**2, rel=1e-7, abs=1e-11)
    if len(values) == 2:
        undefined = ("standard_error", "ci_low", "ci_high", "p_value")
        assert all(record[key] is None for key in undefined)
        return
    error = record["standard_error"]
    assert error == pytest.approx(theirs.stderr, rel=1e-6, abs=1e-7 * scale)
    reach = error * stats.t.ppf((1 + confidence) / 2, len(years) - 2)
    assert record["ci_low"] == pytest.approx(record["slope"] - reach, rel=1e-9, abs=1e-12 * scale)
    assert record["ci_high"] == pytest.approx(record["slope"] + reach, rel=1e-9, abs=1e-12 * scale)
    if error > 1e-7 * scale:
        assert record["p_value"] == pytest.approx(theirs.pvalue, rel=1e-5, abs=1e-12)


def assert_is_robust(record: Any, years: Any, values: Any, confidence: float) -> None:
    with np.errstate(invalid="ignore"):
        theirs = stats.theilslopes(values, years, confidence)
    ours = [record[key] for key in ("theil_sen_slope", "theil_sen_low", "theil_sen_high")]
    expected = [theirs.slope, theirs.low_slope, theirs.high_slope]
    assert ours == [None if math.isnan(each) else each for each in expected]


@pytest.mark.parametrize("by", BYS)
@settings(max_examples=40)
@given(rows=ROWS, confidence=st.sampled_from([0.5, 0.95, 0.999]))
def test_every_group_of_an_invented_table_agrees_with_scipy(
    by: str | None, rows: list[Row], confidence: float
) -> None:
    assert_agrees(table_of(rows), QUESTION, by, confidence)


@pytest.mark.parametrize("data", REAL)
def test_every_state_of_a_real_table_agrees_with_scipy(data: str) -> None:
    table = real_table(data)
    for question in table.names.question:
        assert_agrees(table, question, "state")


@pytest.mark.parametrize("data", REAL)
def test_every_stratum_of_a_real_table_agrees_with_scipy(data: str) -> None:
    table = real_table(data)
    for question in table.names.question[::3]:
        assert_agrees(table, question, "stratum")


@pytest.mark.parametrize("by", BYS)
def test_every_group_of_the_sample_agrees_with_scipy(by: str | None) -> None:
    table = loaded_table(ROOT / "data" / "sample.csv.gz")
    assert_agrees(table, table.names.question[-1], by, 0.9)


@pytest.mark.parametrize("data", REAL)
def test_the_line_through_a_whole_real_question_is_that_of_scipy(data: str) -> None:
    table = real_table(data)
    for question in table.names.question:
        rows = select(table, request(question), question).rows()
        (record,) = answer(table, question)
        assert_is_line(record, rows.year.astype(np.float64), rows.value, 0.95)
        assert record["p_value"] == pytest.approx(
            stats.linregress(rows.year, rows.value).pvalue, rel=1e-9
        )


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_the_band_is_that_of_statsmodels(confidence: float) -> None:
    table = loaded_table(ROOT / "data" / "sample.csv.gz")
    question = table.names.question[-1]
    asked = request(question, by="state", confidence=confidence)
    found = groups(select(table, asked, question), "state")
    records = answer(table, question, by="state", confidence=confidence)
    assert len(records) > 40
    for record, (_, selection) in zip(records, found, strict=True):
        rows = selection.rows()
        fit = sm.OLS(rows.value, sm.add_constant(rows.year.astype(np.float64))).fit()
        years = np.array([each["year"] for each in record["years"]], dtype=np.float64)
        there = fit.get_prediction(sm.add_constant(years, has_constant="add"))
        limits = there.conf_int(alpha=1 - confidence)
        theirs = np.column_stack([there.predicted_mean, limits])
        ours = np.array([[each[key] for key in BAND] for each in record["years"]])
        assert ours == pytest.approx(theirs, rel=1e-8)


# -- the edges ------------------------------------------------------------------------


def figures(record: Any) -> dict[str, Any]:
    return {key: record[key] for key in FIGURES}


def test_no_row_and_no_dated_row_have_no_figures() -> None:
    nothing = dict.fromkeys(FIGURES) | {"years": []}
    assert trend_of() == dict.fromkeys(COUNTS) | {"n": 0, "n_without_year": 0} | nothing
    assert trend_of((None, 1.0), (None, 2.0)) == {
        "n": 0,
        "n_without_year": 2,
        "first_year": None,
        "last_year": None,
        **nothing,
    }


@pytest.mark.parametrize("values", [(3.0,), (3.0, 3.0), (1.0, 2.0, 3.0)])
def test_rows_of_one_year_have_no_trend(values: Sequence[float]) -> None:
    record = trend_of(*((2015, value) for value in values))
    assert (record["n"], record["first_year"], record["last_year"]) == (len(values), 2015, 2015)
    assert figures(record) == dict.fromkeys(FIGURES)
    mean = sum(values) / len(values)
    of_the_year = {"year": 2015, "n": len(values), "mean": mean}
    assert record["years"] == [of_the_year | dict.fromkeys(BAND)]


def test_two_points_have_a_slope_and_no_error() -> None:
    record = trend_of((2011, 1.0), (2015, 3.0))
    assert figures(record) == dict.fromkeys(FIGURES) | {
        "slope": 0.5,
        "r_squared": 1.0,
        "theil_sen_slope": 0.5,
        "theil_sen_low": 0.5,
        "theil_sen_high": 0.5,
    }
    assert [[each[key] for key in BAND] for each in record["years"]] == [
        [1.0, None, None],
        [3.0, None, None],
    ]


@pytest.mark.parametrize("slope", [0.1, -1 / 3, 1e-3])
def test_points_on_a_line_have_no_error_and_no_doubt(slope: float) -> None:
    record = trend_of(*((year, 20 + slope * (year - 2011)) for year in range(2011, 2023)))
    assert record["slope"] == pytest.approx(slope, rel=1e-12)
    assert record["standard_error"] == 0.0
    assert record["ci_low"] == record["ci_high"] == record["slope"]
    assert record["p_value"] == 0.0
    assert record["r_squared"] == pytest.approx(1.0, rel=1e-12)
    assert record["r_squared"] <= 1.0
    assert record["theil_sen_slope"] == pytest.approx(slope, rel=1e-9)
    for each in record["years"]:
        assert each["band_low"] == each["fitted"] == each["band_high"]
        assert each["fitted"] == pytest.approx(each["mean"], rel=1e-12)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 0.0, -7e100])
def test_equal_values_have_the_slope_zero_for_certain(value: float) -> None:
    record = trend_of(*((year, value) for year in (2011, 2012, 2012, 2019)))
    assert figures(record) == dict.fromkeys(FIGURES, 0.0) | {
        "p_value": 1.0,
        **dict.fromkeys(("r_squared", "theil_sen_low", "theil_sen_high")),
    }


def test_a_slope_keeps_its_digits_far_from_zero() -> None:
    points = [(2011, 1.0), (2012, 4.0), (2013, 2.0), (2014, 7.0)]
    near, far = trend_of(*points), trend_of(*((year, 1e9 + value) for year, value in points))
    for key in ("slope", "standard_error", "p_value", "r_squared"):
        assert far[key] == pytest.approx(near[key], rel=1e-12)


def test_a_tiny_scatter_around_a_line_is_no_perfect_fit() -> None:
    points = [(2011 + k, 20 + 0.5 * k + (-1) ** k * 1e-12) for k in range(12)]
    assert 0 < trend_of(*points)["standard_error"] < 1e-12


@pytest.mark.parametrize("factor", [1e-300, 1e-200, 1e200, 1e300])
def test_the_unit_of_the_values_does_not_matter(factor: float) -> None:
    points = [(2011, 1.0), (2012, 2.0), (2012, 3.5), (2013, 1.5), (2014, 3.0)]
    plain, scaled = trend_of(*points), trend_of(*((year, value * factor) for year, value in points))
    for key in ("p_value", "r_squared"):
        assert scaled.pop(key) == pytest.approx(plain.pop(key), rel=1e-12)
    for key in set(FIGURES) - {"p_value", "r_squared"}:
        assert scaled[key] == pytest.approx(plain[key] * factor, rel=1e-12, abs=0)
    for one, other in zip(plain["years"], scaled["years"], strict=True):
        for key in ("mean", *BAND):
            assert other[key] == pytest.approx(one[key] * factor, rel=1e-12, abs=0)


def test_figures_beyond_what_a_float_holds_are_none() -> None:
    with np.errstate(over="ignore"):
        record = trend_of((2011, -1.7e308), (2012, 1.7e308), (2012, 1.6e308), (2013, 0.0))
    small = trend_of((2011, -1.7), (2012, 1.7), (2012, 1.6), (2013, 0.0))
    for key in ("slope", "standard_error"):
        assert record[key] == pytest.approx(small[key] * 1e308)
    assert record["p_value"] == pytest.approx(small["p_value"])
    assert record["ci_low"] is record["ci_high"] is record["theil_sen_slope"] is None
    assert [each["year"] for each in record["years"]] == [2011, 2012, 2013]
    assert all(each["band_low"] is each["band_high"] is None for each in record["years"])
    assert record["years"][1]["mean"] == pytest.approx(1.65e308)


def test_rows_without_a_year_are_reported_and_do_not_count() -> None:
    dated = trend_of((2011, 1.0), (2012, 4.0), (2013, 5.0))
    mixed = trend_of((2011, 1.0), (None, 99.0), (2012, 4.0), (2013, 5.0))
    assert mixed == {**dated, "n_without_year": 1}


def test_a_filter_of_years_bounds_the_trend() -> None:
    points = [(2011, 9.0), (2012, 1.0), (2013, 2.0), (2014, 4.0), (None, 7.0)]
    bounded = trend_of(*points, years=[2012, 2014])
    assert bounded == trend_of(*points[1:4])


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.999999])
def test_more_confidence_makes_the_interval_wider(confidence: float) -> None:
    points = [(2011, 1.0), (2012, 4.0), (2013, 2.0), (2014, 7.0), (2015, 5.0)]
    narrow, wide = trend_of(*points, confidence=0.3), trend_of(*points, confidence=confidence)
    assert wide["ci_low"] < narrow["ci_low"] <= narrow["slope"] <= narrow["ci_high"]
    assert wide["ci_high"] > narrow["ci_high"]
    assert wide["theil_sen_low"] <= narrow["theil_sen_low"]


@pytest.mark.parametrize(
    "wrong", [{"by": "year"}, {"confidence": 0}, {"confidence": 1}, {"confidence": "0.9"}]
)
def test_a_request_beyond_the_limits_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError, match=next(iter(wrong))):
        request(**wrong)


def test_the_example_is_answered_from_the_sample() -> None:
    table = loaded_table(ROOT / "data" / "sample.csv.gz")
    records = answer(table, **TREND.example)
    assert [record["state"] for record in records] == ["Michigan", "Ohio"]
    assert all(record[key] is not None for record in records for key in FIGURES)


# -- what every answer keeps ----------------------------------------------------------


@settings(max_examples=50)
@given(rows=ROWS, by=st.sampled_from(BYS))
def test_figures_are_finite_floats_and_counts_are_ints(rows: list[Row], by: str | None) -> None:
    table, asked = table_of(rows), request(by=by)
    parts = TREND.plan(table, asked)
    data = TREND.combine(table, asked, [TREND.partial(table, asked, part) for part in parts])
    assert msgspec.json.decode(msgspec.json.encode(data)) == data
    for record in data["groups"]:
        for key in COUNTS:
            assert type(record[key]) is int or (record[key] is None and record["n"] == 0)
        for key in FIGURES:
            value = record[key]
            assert value is None or (type(value) is float and math.isfinite(value))
        assert sum(each["n"] for each in record["years"]) == record["n"]


@pytest.mark.parametrize("by", ["state", "stratum"])
def test_many_parts_in_any_order_give_the_digits_of_one(
    by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = loaded_table(ROOT / "data" / "sample.csv.gz")
    asked = request(table.names.question[-1], by=by)
    whole = answers.answer(TREND, table, asked)
    monkeypatch.setattr(trends, "ROWS_PER_PART", 50)
    assert len(TREND.plan(table, asked)) > 20

    def backwards(places: Sequence[Json]) -> Sequence[Json]:
        return list(reversed(places))

    for order in (list, backwards):
        assert answers.answer(TREND, table, asked, in_order=order) == whole


def test_about_90_of_100_intervals_hold_the_true_slope() -> None:
    source = np.random.default_rng(20260214)
    rows = [
        Row(QUESTION, f"State {number:03}", None, None, year, 30 + 0.4 * year + noise)
        for number in range(500)
        for year, noise in zip(
            np.repeat(np.arange(2011, 2023), 2).tolist(),
            source.normal(0, 5, 24).tolist(),
            strict=True,
        )
    ]
    records = answer(table_of(rows), by="state", confidence=0.9)
    for low, high in (("ci_low", "ci_high"), ("theil_sen_low", "theil_sen_high")):
        covered = sum(record[low] <= 0.4 <= record[high] for record in records)
        assert 0.87 < covered / len(records) < 0.93
    false_alarms = sum(record["ci_low"] > 0 for record in records)
    assert false_alarms == sum(
        record["p_value"] < 0.1 and record["slope"] > 0 for record in records
    )
