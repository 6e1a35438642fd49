"""Cells are matched as pandas does, coefficients are SciPy's, also of every resample."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from server.stats import STATISTICS, correlation
from server.stats.coefficients import Pairs
from server.stats.correlation import CorrelationRequest
from server.stats.resampling import MOST_RESAMPLES, shares, stream
from server.stats.selection import groups
from server.stats.statistic import Unanswerable
from server.table import Table
from tests.stats.test_bootstrap import assert_finite
from tests.stats.test_coefficients import Figures, of_scipy, related
from tests.support.answers import answer, sizes
from tests.support.real_tables import REAL, frame_of, real_table
from tests.support.tables import Row, table_of

CORRELATION = STATISTICS["correlation"]
X, Y = "Percent who run", "Percent who sit"
COEFFICIENTS = ("pearson", "spearman")
FIELDS = [
    *("n", "n_undefined", "pearson", "pearson_low", "pearson_high"),
    *("spearman", "spearman_low", "spearman_high"),
]
FLOAT_FIELDS = FIELDS[2:]
UNDEFINED = dict.fromkeys(FLOAT_FIELDS)


def table_with(samples: dict[str, tuple[Iterable[float], Iterable[float]]]) -> Table:
    """A state for each sample of pairs, with a cell for each pair."""
    return table_of(
        Row(question, state, "Place", f"{place:05}", 2011, float(value))
        for state, pairs in samples.items()
        for question, values in zip((X, Y), pairs, strict=True)
        for place, value in enumerate(values)
    )


def ask(table: Table, **fields: Any) -> dict[str, Any]:
    defaults = {"question": X, "other_question": Y, "seed": 1, "n_resamples": 200}
    found = answer(CORRELATION, table, CorrelationRequest(**{**defaults, **fields}))
    assert_finite(found)
    return dict(found)


def record_of(x: Iterable[float], y: Iterable[float], **fields: Any) -> dict[str, Any]:
    (record,) = ask(table_with({"Ohio": (x, y)}), **fields)["groups"]
    assert list(record) == FIELDS
    return dict(record)


# -- intervals ------------------------------------------------------------------------


@pytest.mark.parametrize("digits", [6, 0])
@pytest.mark.parametrize("n", [5, 40, 333])
@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_intervals_are_the_quantiles_of_all_resampled_coefficients(
    n: int, digits: int, confidence: float
) -> None:
    x, y = related(n, digits=digits)
    table = table_with({"Ohio": (x, y)})
    request = CorrelationRequest(
        question=X, other_question=Y, seed=7, n_resamples=1234, confidence=confidence
    )
    both = correlation.matched(table, request)
    found = groups(both.selection, None)
    plan = correlation._plan(found, request)
    resampled = [
        Pairs(both.cells, 1234).resampled(stream(7, share), share.resamples)
        for part in CORRELATION.plan(table, request)
        for share in shares(plan, 1234, part)
    ]
    (record,) = answer(CORRELATION, table, request)["groups"]
    assert record["n"] == n
    for place, name in enumerate(COEFFICIENTS):
        every = np.concatenate([each[place] for each in resampled])
        assert record["n_undefined"] == 1234 - len(every)
        low, high = np.quantile(every, [(1 - confidence) / 2, (1 + confidence) / 2])
        near = max(1e-6, (1 - record[name] ** 2) / math.sqrt(n - 1) / 1024)
        assert record[f"{name}_low"] == pytest.approx(low, abs=near)
        assert record[f"{name}_high"] == pytest.approx(high, abs=near)
    assert (record["pearson"], record["spearman"]) == pytest.approx(of_scipy(x, y))


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_scipy_finds_the_same_with_resamples_of_its_own(name: str) -> None:
    """Within what so many resamples leave uncertain: 5 standard deviations of a quantile."""
    x, y = related(80, digits=0)
    many = 3000
    record = record_of(x, y, n_resamples=many, confidence=0.9)

    def coefficient(x: Figures, y: Figures) -> float:
        ranked = (x, y) if name == "pearson" else (stats.rankdata(x), stats.rankdata(y))
        return float(np.corrcoef(*ranked)[0, 1])

    theirs = stats.bootstrap(
        (x, y),
        coefficient,
        n_resamples=many,
        paired=True,
        vectorized=False,
        method="percentile",
        confidence_level=0.9,
        rng=np.random.default_rng(5),
    )
    quantile = math.sqrt(0.05 * 0.95 / many) / stats.norm.pdf(stats.norm.ppf(0.05))
    near = 5 * math.sqrt(2) * quantile * theirs.standard_error
    assert record[f"{name}_low"] == pytest.approx(theirs.confidence_interval.low, abs=near)
    assert record[f"{name}_high"] == pytest.approx(theirs.confidence_interval.high, abs=near)


TRIALS = 600
TOLERANCE = 4 * math.sqrt(0.9 * 0.1 / TRIALS)
"""Four standard deviations of the share of covering intervals, were each to cover with 90 %."""


def test_intervals_of_90_percent_cover_as_often() -> None:
    rho, n = 0.5, 60
    truth = {"pearson": rho, "spearman": 6 / math.pi * math.asin(rho / 2)}
    numbers = np.random.default_rng(12)
    samples: dict[str, tuple[Iterable[float], Iterable[float]]] = {}
    for trial in range(TRIALS):
        x, other = numbers.normal(size=(2, n))
        samples[f"{trial:04}"] = x, rho * x + math.sqrt(1 - rho**2) * other
    found = ask(table_with(samples), by="state", n_resamples=999, confidence=0.9)["groups"]
    assert len(found) == TRIALS
    for name, value in truth.items():
        covering = sum(each[f"{name}_low"] <= value <= each[f"{name}_high"] for each in found)
        assert covering / TRIALS == pytest.approx(0.9, abs=TOLERANCE)


# -- the cells ------------------------------------------------------------------------

STRATA = ((None, None), ("Sex", "Male"), ("Sex", "Female"), ("Age (years)", "65+"))
YEARS = (None, 2011, 2012, 2015)
ROWS = st.lists(
    st.builds(
        lambda question, state, stratum, year, value: Row(question, state, *stratum, year, value),
        st.sampled_from([X, Y]),
        st.sampled_from(["Ohio", "Utah", "Yap"]),
        st.sampled_from(STRATA),
        st.sampled_from(YEARS),
        st.integers(0, 40).map(float),
    ),
    max_size=80,
)
NAMED = [Row(question, "Ohio", "Sex", "Male", 2011, None) for question in (X, Y)]
CELL = ["state", "category", "stratum", "year"]
GROUPINGS: dict[str | None, list[str]] = {
    None: [],
    "state": ["state"],
    "stratum": ["category", "stratum"],
    "year": ["year"],
}


def cells_of(table: Table, x: str = X, y: str = Y) -> pd.DataFrame:
    """The matched cells, by pandas."""
    first, second = (
        frame_of(table, question).dropna().groupby(CELL)["value"].mean() for question in (x, y)
    )
    joined = pd.concat([first, second], axis=1, join="inner", keys=["x", "y"])
    return joined.reset_index().sort_values(CELL)


def assert_groups_are(found: list[dict[str, Any]], cells: pd.DataFrame, by: str | None) -> None:
    keys = GROUPINGS[by]
    expected = list(cells.groupby(keys)) if keys else [((), cells)]
    assert [tuple(each[key] for key in keys) for each in found] == [key for key, _ in expected]
    for record, (_, group) in zip(found, expected, strict=True):
        assert record["n"] == len(group)
        known = len(group) >= 3 and group["x"].nunique() > 1 and group["y"].nunique() > 1
        if known:
            theirs = of_scipy(group["x"].to_numpy(), group["y"].to_numpy())
            assert (record["pearson"], record["spearman"]) == pytest.approx(theirs, abs=1e-9)
        else:
            assert {field: record[field] for field in FLOAT_FIELDS} == UNDEFINED


@given(ROWS, st.sampled_from(list(GROUPINGS)))
@settings(max_examples=100, deadline=None)
def test_cells_are_matched_as_pandas_does(rows: list[Row], by: str | None) -> None:
    table = table_of([*rows, *NAMED])
    found = ask(table, by=by, n_resamples=20)["groups"]
    assert_groups_are(found, cells_of(table), by)


@pytest.fixture(scope="module")
def mixed() -> Table:
    numbers = np.random.default_rng(6)
    return table_of(
        Row(question, state, *stratum, year, round(numbers.normal(30, 5), 1), weight)
        for question in (X, Y)
        for state in ("Ohio", "Utah", "Yap")
        for stratum in STRATA
        for year in (*YEARS, 2016, 2017)
        for weight in (None, 3.0)
        if numbers.random() < 0.8
    )


@pytest.mark.parametrize(
    ("filters", "condition"),
    [
        ({"years": (2011, 2012)}, "year >= 2011 and year <= 2012"),
        ({"states": ("Utah", "Yap")}, "state != 'Ohio'"),
        ({"category": "Sex"}, "category == 'Sex'"),
        ({"stratum": "65+", "years": (2012, 2020)}, "stratum == '65+' and year >= 2012"),
    ],
)
@pytest.mark.parametrize("by", GROUPINGS)
def test_only_cells_that_pass_the_filters_count(
    mixed: Table, by: str | None, filters: dict[str, Any], condition: str
) -> None:
    found = ask(mixed, by=by, n_resamples=20, **filters)["groups"]
    assert_groups_are(found, cells_of(mixed).query(condition), by)


def test_a_cell_is_the_mean_of_its_rows(mixed: Table) -> None:
    rows = [
        *(Row(X, "Ohio", "Sex", "Male", year, 10.0 * year) for year in (1, 2, 4)),
        *(Row(Y, "Ohio", "Sex", "Male", year, year + 5.0) for year in (1, 2, 4)),
        *(Row(Y, "Ohio", "Sex", "Male", year, year - 5.0) for year in (1, 2, 4)),
    ]
    (record,) = ask(table_of(rows))["groups"]
    assert (record["n"], record["pearson"], record["spearman"]) == (3, 1.0, 1.0)


# -- edges ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([], []),
        ([1.0], [2.0]),
        ([1.0, 2.0], [2.0, 1.0]),
        ([1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]),
        ([1.0, 2.0, 3.0], [0.1, 0.1, 0.1]),
    ],
)
def test_too_few_cells_or_a_constant_figure_have_no_correlation(
    x: list[float], y: list[float]
) -> None:
    table = table_of(
        [
            *NAMED,
            *(Row(X, "Ohio", "Sex", "Male", year, value) for year, value in enumerate(x)),
            *(Row(Y, "Ohio", "Sex", "Male", year, value) for year, value in enumerate(y)),
        ]
    )
    assert ask(table)["groups"] == [{"n": len(x), "n_undefined": 0, **UNDEFINED}]


@pytest.mark.parametrize("constant", [X, Y])
def test_a_figure_that_only_rounding_moves_is_constant(constant: str) -> None:
    counts = dict(enumerate((1, 3, 1, 6, 3, 10), 2011))
    other = Y if constant == X else X
    table = table_of(
        [
            *NAMED,
            *(Row(other, "Ohio", "Sex", "Male", year, float(year)) for year in counts),
            *(
                Row(constant, "Ohio", "Sex", "Male", year, 0.1)
                for year, count in counts.items()
                for _ in range(count)
            ),
        ]
    )
    assert len({sum([0.1] * count) / count for count in counts.values()}) > 1, "but for rounding"
    assert ask(table)["groups"] == [{"n": 6, "n_undefined": 0, **UNDEFINED}]


def test_questions_without_a_common_cell_have_no_groups() -> None:
    table = table_of(
        [Row(X, "Ohio", "Sex", "Male", 2011, 1.0), Row(Y, "Ohio", "Sex", "Male", 2012, 1.0)]
    )
    assert ask(table, by="state")["groups"] == []
    assert ask(table)["groups"] == [{"n": 0, "n_undefined": 0, **UNDEFINED}]


def test_a_question_goes_with_itself(mixed: Table) -> None:
    (record,) = ask(mixed, other_question=X)["groups"]
    assert [record[field] for field in FLOAT_FIELDS] == pytest.approx([1.0] * 6, abs=1e-12)


def test_opposite_figures_are_correlated_negatively() -> None:
    x = np.arange(10.0)
    record = record_of(x, -(x**3))
    assert [record[f"spearman{each}"] for each in ("", "_low", "_high")] == [-1.0, -1.0, -1.0]
    assert -1 < record["pearson"] < 0
    assert record["pearson_low"] <= record["pearson"] <= record["pearson_high"]


def test_resamples_without_a_coefficient_are_counted_and_left_out() -> None:
    x, y, many = [1.0, 2.0, 3.0], [1.0, 3.0, 2.0], 4000
    record = record_of(x, y, n_resamples=many)
    all_the_same = 3 / 27
    spread = math.sqrt(many * all_the_same * (1 - all_the_same))
    assert record["n_undefined"] == pytest.approx(many * all_the_same, abs=4.5 * spread)
    defined = {
        tuple(np.round(of_scipy(*np.array(drawn).T), 6))
        for drawn in itertools.product(zip(x, y, strict=True), repeat=3)
        if len(set(drawn)) > 1
    }
    assert (record["pearson_low"], record["pearson_high"]) == (-1.0, 1.0)
    assert {min(each) for each in defined} == {-1.0, 0.5, 1.0}


def test_where_no_resample_has_a_coefficient_there_is_no_interval() -> None:
    for seed in range(30):
        record = record_of([1.0, 1.0, 2.0], [1.0, 1.0, 2.0], n_resamples=1, seed=seed)
        assert record["pearson"] == 1.0
        if record["n_undefined"]:
            assert record["pearson_low"] is record["spearman_high"] is None
            return
    raise AssertionError("with one resample of two different cells, some have no coefficient")


# -- parts ----------------------------------------------------------------------------


@pytest.mark.parametrize("by", GROUPINGS)
def test_the_digits_do_not_depend_on_the_order_of_parts_or_on_merges(
    mixed: Table, monkeypatch: pytest.MonkeyPatch, by: str | None
) -> None:
    monkeypatch.setattr(correlation, "_PART", 2500)
    request = CorrelationRequest(
        question=X,
        other_question=Y,
        by=by,  # type: ignore[arg-type]
        n_resamples=300,
        seed=4,
    )
    assert len(CORRELATION.plan(mixed, request)) >= 5

    def backwards(places: Sequence[Any]) -> Sequence[Any]:
        return list(places)[::-1]

    first = answer(CORRELATION, mixed, request)
    for fan_in in (2, 3, 7):
        assert answer(CORRELATION, mixed, request, fan_in, backwards) == first
    other = msgspec.structs.replace(request, seed=5)
    assert answer(CORRELATION, mixed, other) != first


def test_what_is_kept_of_ten_million_resamples_is_bounded() -> None:
    table = table_with({"Ohio": related(50)})
    request = CorrelationRequest(question=X, other_question=Y, n_resamples=MOST_RESAMPLES, seed=1)
    parts = CORRELATION.plan(table, request)
    assert len(parts) > 20
    assert CORRELATION.merge is not None
    merged = CORRELATION.merge(request, [CORRELATION.partial(table, request, 0) for _ in range(3)])
    assert len(merged["tallies"]) == 2
    for _, numbers, counts in merged["tallies"]:
        assert len(numbers) == len(counts) < 14 * 1024 * 2.5
        assert sum(counts) == MOST_RESAMPLES // len(parts) * 3


def test_of_many_small_groups_no_tally_is_sent() -> None:
    table = table_with({f"county {n}": related(20, seed=n) for n in range(100)})
    request = CorrelationRequest(
        question=X, other_question=Y, by="state", n_resamples=9_999, seed=1
    )
    sent = sizes(CORRELATION, table, request)
    assert len(sent) > 1
    assert sum(sent) < 100 * 400
    found = answer(CORRELATION, table, request)["groups"]
    assert len(found) == 100
    for each in found:
        assert each["pearson_low"] < each["pearson"] < each["pearson_high"]


def test_too_much_work_is_refused_with_what_would_be_allowed(
    mixed: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correlation, "_PART", 5000)
    request = CorrelationRequest(question=X, other_question=Y, n_resamples=MOST_RESAMPLES, seed=1)
    with pytest.raises(Unanswerable, match=r"n_resamples may be about \d+"):
        CORRELATION.plan(mixed, request)


# -- real figures ---------------------------------------------------------------------

OBESITY = "Percent of adults aged 18 years and older who have obesity"
SITTING = "Percent of adults who engage in no leisure-time physical activity"


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("by", GROUPINGS)
def test_real_cells_are_those_of_pandas(name: str, by: str | None) -> None:
    table = real_table(name)
    found = ask(table, question=OBESITY, other_question=SITTING, by=by, n_resamples=50)["groups"]
    assert_groups_are(found, cells_of(table, OBESITY, SITTING), by)
    for each in found:
        for coefficient in COEFFICIENTS:
            assert each[f"{coefficient}_low"] <= each[coefficient] + 0.15
            assert each[f"{coefficient}_high"] >= each[coefficient] - 0.15


# -- the row --------------------------------------------------------------------------


def test_the_answer_says_what_was_asked(mixed: Table) -> None:
    found = ask(mixed, n_resamples=77, confidence=0.8, seed=12)
    del found["groups"]
    assert found == {"n_resamples": 77, "confidence": 0.8, "seed": 12}


def test_the_example_is_a_request() -> None:
    assert msgspec.convert(dict(CORRELATION.example), CorrelationRequest).n_resamples <= 1000
    for wrong in ({"n_resamples": 0}, {"n_resamples": MOST_RESAMPLES + 1}, {"confidence": 1}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({**CORRELATION.example, **wrong}, CorrelationRequest)
