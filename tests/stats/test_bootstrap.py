"""The intervals are those of SciPy for the same resamples, and cover as often as they say."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from server.stats import STATISTICS, bootstrap, estimators
from server.stats.bootstrap import BootstrapRequest
from server.stats.resampling import MOST_RESAMPLES, shares, stream
from server.stats.statistic import Unanswerable
from server.table import Table
from tests.support.answers import answer, sizes
from tests.support.real_tables import REAL, frame_of, real_table
from tests.support.tables import Row, table_of

CI = STATISTICS["bootstrap_ci"]
Q = "Percent who run"
FIELDS = [
    *("n", "estimate", "standard_error"),
    *("percentile_low", "percentile_high", "bca_low", "bca_high"),
]
INTERVALS = FIELDS[3:]
ESTIMATORS = ("mean", "median")
FUNCTIONS: dict[str, Callable[..., Any]] = {"mean": np.mean, "median": np.median}


def table_with(samples: dict[str, Iterable[float]]) -> Table:
    return table_of(
        Row(Q, state, "Sex", "Male", 2011, float(value))
        for state, values in samples.items()
        for value in values
    )


def ask(table: Table, **fields: Any) -> dict[str, Any]:
    request = BootstrapRequest(**{"question": Q, "seed": 1, **fields})
    found = answer(CI, table, request)
    assert_finite(found)
    return dict(found)


def record_of(values: Iterable[float], **fields: Any) -> dict[str, Any]:
    (record,) = ask(table_with({"Ohio": values}), **fields)["groups"]
    assert list(record) == FIELDS
    return dict(record)


def assert_finite(value: Any) -> None:
    """Only what JSON has: no NaN, no infinity, no NumPy."""
    match value:
        case dict():
            for each in value.values():
                assert_finite(each)
        case list() | tuple():
            for each in value:
                assert_finite(each)
        case float():
            assert math.isfinite(value)
        case _:
            assert value is None or type(value) in (int, str, bool)


# -- the same resamples by SciPy ------------------------------------------------------


def skewed(n: int, seed: int = 2) -> npt.NDArray[np.float64]:
    return np.round(np.random.default_rng(seed).lognormal(3, 0.6, n), 1)


def plain(values: npt.NDArray[np.float64], request: BootstrapRequest) -> npt.NDArray[np.float64]:
    """Every resampled estimate of a single group, from the streams of its parts."""
    table = table_with({"Ohio": values})
    found = bootstrap._groups(table, request)
    ascending = np.sort(values)
    estimates = []
    for part in CI.plan(table, request):
        bundles = bootstrap._plan(found, request)
        for share in shares(bundles, request.n_resamples, part):
            numbers = stream(request.seed, share)
            if request.estimator == "mean":
                in_order = found[0].selection.values()
                here = estimators.resampled_means(numbers, in_order, share.resamples)
            else:
                low, high = estimators.resampled_middles(numbers, len(values), share.resamples)
                here = (ascending[low] + ascending[high]) / 2
            estimates.append(here)
    return np.concatenate(estimates)


def of_scipy(
    values: npt.NDArray[np.float64],
    estimator: str,
    method: str,
    confidence: float,
    resampled: npt.NDArray[np.float64],
) -> Any:
    """What SciPy makes of estimates that are already resampled."""
    function = FUNCTIONS[estimator]
    result = stats.bootstrap((values,), function, n_resamples=2, method="percentile")
    result.bootstrap_distribution = resampled
    return stats.bootstrap(
        (values,),
        function,
        n_resamples=0,
        bootstrap_result=result,
        method=method,
        confidence_level=confidence,
    )


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("n", [2, 7, 24, 301])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_scipy_says_the_same_of_the_same_resamples(
    estimator: str, n: int, confidence: float
) -> None:
    values = skewed(n) + np.arange(n) / 1000
    request = BootstrapRequest(
        question=Q,
        estimator=estimator,  # type: ignore[arg-type]
        n_resamples=4321,
        confidence=confidence,
        seed=9,
    )
    resampled = plain(values, request)
    record = record_of(values, estimator=estimator, n_resamples=4321, confidence=confidence, seed=9)
    step = resampled.std() / 1024
    assert record["n"] == n
    assert record["estimate"] == pytest.approx(FUNCTIONS[estimator](values), rel=1e-14)
    assert record["standard_error"] == pytest.approx(resampled.std(ddof=1), rel=5e-4)
    for method in ("percentile", "bca"):
        theirs = of_scipy(values, estimator, method, confidence, resampled).confidence_interval
        # A z0 from the grid moves both levels a little, and the levels the bounds.
        near = step if method == "percentile" or estimator == "median" else 10 * step
        assert record[f"{method}_low"] == pytest.approx(theirs.low, abs=near)
        assert record[f"{method}_high"] == pytest.approx(theirs.high, abs=near)


def test_the_median_of_the_same_resamples_is_exact() -> None:
    values = skewed(40)
    request = BootstrapRequest(question=Q, estimator="median", n_resamples=2000, seed=3)
    resampled = plain(values, request)
    record = record_of(values, estimator="median", n_resamples=2000, seed=3)
    low, high = np.quantile(resampled, [0.025, 0.975])
    assert (record["percentile_low"], record["percentile_high"]) == pytest.approx((low, high))
    assert record["standard_error"] == pytest.approx(resampled.std(ddof=1), rel=1e-12)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("values", [skewed(60), np.random.default_rng(4).normal(50, 9, 61)])
def test_scipy_finds_the_same_with_resamples_of_its_own(
    estimator: str, values: npt.NDArray[np.float64]
) -> None:
    """Within what so many resamples leave uncertain: 5 standard deviations of a quantile of
    each, where the estimates are about normal, and of z0 (for BCa)."""
    many = 20_000
    record = record_of(values, estimator=estimator, n_resamples=many, confidence=0.9)
    error = record["standard_error"]
    quantile = math.sqrt(0.05 * 0.95 / many) / stats.norm.pdf(stats.norm.ppf(0.05))
    z0 = 2 * 0.5 / math.sqrt(many) / stats.norm.pdf(0)
    gap = 0 if estimator == "mean" else np.diff(np.sort(values)).max() / 4
    for method, uncertain in (("percentile", quantile), ("bca", quantile + z0)):
        theirs = stats.bootstrap(
            (values,),
            FUNCTIONS[estimator],
            n_resamples=many,
            method=method,
            confidence_level=0.9,
            rng=np.random.default_rng(8),
        )
        near = 5 * math.sqrt(2) * uncertain * error + gap
        assert record[f"{method}_low"] == pytest.approx(theirs.confidence_interval.low, abs=near)
        assert record[f"{method}_high"] == pytest.approx(theirs.confidence_interval.high, abs=near)
        assert error == pytest.approx(theirs.standard_error, rel=0.06)


# -- coverage -------------------------------------------------------------------------

TRIALS = 1000
TOLERANCE = 4 * math.sqrt(0.9 * 0.1 / TRIALS)
"""Four standard deviations of the share of covering intervals, were each to cover with 90 %."""


@pytest.fixture(scope="module", params=["normal", "skewed"])
def trials(request: pytest.FixtureRequest) -> tuple[str, Table]:
    """A thousand samples of 60, each a state of its own."""
    numbers = np.random.default_rng(11)
    shape = (TRIALS, 60)
    drawn = numbers.normal(0, 1, shape) if request.param == "normal" else numbers.gamma(2, 1, shape)
    return request.param, table_with({f"{trial:04}": row for trial, row in enumerate(drawn)})


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_intervals_of_90_percent_cover_as_often(trials: tuple[str, Table], estimator: str) -> None:
    kind, table = trials
    truth = {
        "normal": {"mean": 0.0, "median": 0.0},
        "skewed": {"mean": 2.0, "median": float(stats.gamma(2).median())},
    }[kind][estimator]
    found = ask(table, by="state", estimator=estimator, n_resamples=999, confidence=0.9)["groups"]
    for method in ("percentile", "bca"):
        known = [each for each in found if each[f"{method}_low"] is not None]
        assert len(known) == TRIALS
        covering = sum(each[f"{method}_low"] <= truth <= each[f"{method}_high"] for each in known)
        assert covering / TRIALS == pytest.approx(0.9, abs=TOLERANCE)


# -- edges ----------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
class TestEdges:
    def test_of_no_rows_nothing_is_known(self, estimator: str) -> None:
        rows = [Row(Q, "Ohio", "Sex", "Male", 2011, 1.0), Row(Q, "Utah", None, None, 2011, None)]
        table = table_of(rows)
        found = ask(table, states=["Utah"], estimator=estimator)
        assert found["groups"] == [{**dict.fromkeys(FIELDS), "n": 0}]
        assert ask(table, states=["Utah"], by="state", estimator=estimator)["groups"] == []

    def test_of_one_row_only_the_estimate_is_known(self, estimator: str) -> None:
        record = record_of([28.35], estimator=estimator)
        assert record == {**dict.fromkeys(FIELDS), "n": 1, "estimate": 28.35}

    @pytest.mark.parametrize("value", [0.1, 0.0, -7.3, 1e300])
    def test_of_equal_values_the_interval_is_the_value(self, estimator: str, value: float) -> None:
        record = record_of([value] * 3, estimator=estimator)
        expected = {**dict.fromkeys(FIELDS, value), "n": 3, "standard_error": 0.0}
        assert record == expected

    @pytest.mark.parametrize("values", [[1e308, 1.5e308], [-1.7e308, 1.7e308, 1.0]])
    def test_values_whose_sums_no_float_holds_have_no_interval(
        self, estimator: str, values: list[float]
    ) -> None:
        with np.errstate(over="ignore"):
            record = record_of(values, estimator=estimator)
        estimate = record.pop("estimate")
        assert record == {name: None for name in FIELDS if name != "estimate"} | {"n": len(values)}
        assert estimate is None or min(values) <= estimate <= max(values)

    def test_one_resample_has_no_standard_error(self, estimator: str) -> None:
        record = record_of([1.0, 2.0, 4.0], estimator=estimator, n_resamples=1)
        assert record["standard_error"] is None
        assert record["percentile_low"] == record["percentile_high"] is not None

    @pytest.mark.parametrize("scale", [1e-200, 1e-9, 1e9, 1e200])
    def test_intervals_scale_with_the_values(self, estimator: str, scale: float) -> None:
        values = skewed(40)
        one = record_of(values, estimator=estimator, n_resamples=500)
        other = record_of(values * scale, estimator=estimator, n_resamples=500)
        for field in FIELDS[1:]:
            near = one["standard_error"] / 100
            assert other[field] / scale == pytest.approx(one[field], abs=near)

    def test_values_far_from_zero_keep_their_digits(self, estimator: str) -> None:
        values = skewed(40)
        one = record_of(values, estimator=estimator, n_resamples=500)
        other = record_of(values + 1e6, estimator=estimator, n_resamples=500)
        for field in INTERVALS:
            assert other[field] - 1e6 == pytest.approx(one[field], abs=one["standard_error"] / 100)

    def test_values_that_differ_in_the_last_bit_alone_are_told_apart(self, estimator: str) -> None:
        values = [1.0, math.nextafter(1.0, 2.0), 1.0, math.nextafter(1.0, 2.0)]
        record = record_of(values, estimator=estimator, n_resamples=100)
        assert record["percentile_low"] == pytest.approx(1.0, abs=1e-12)
        assert record["percentile_high"] == pytest.approx(1.0, abs=1e-12)


def test_the_bca_interval_of_a_median_among_equal_values_is_undefined() -> None:
    record = record_of([1.0, 2.0, 2.0, 2.0, 3.0], estimator="median")
    assert (record["bca_low"], record["bca_high"]) == (None, None)
    assert record["percentile_low"] < record["percentile_high"]


def test_decimal_data_have_decimal_medians() -> None:
    record = record_of([28.35, 28.35, 30.15, 31.25], estimator="median", n_resamples=200)
    for field in ("estimate", "percentile_low", "percentile_high"):
        assert record[field] == round(record[field], 3)


@given(
    st.dictionaries(
        st.sampled_from(["Ohio", "Utah", "Yap"]),
        st.lists(st.integers(-500, 500).map(lambda n: n / 10), min_size=1, max_size=12),
        min_size=1,
    ),
    st.sampled_from(ESTIMATORS),
    st.integers(1, 60),
    st.floats(0.001, 0.999),
)
@settings(max_examples=60, deadline=None)
def test_intervals_are_in_order_and_within_the_values(
    samples: dict[str, list[float]], estimator: str, resamples: int, confidence: float
) -> None:
    found = ask(
        table_with(samples),
        by="state",
        estimator=estimator,
        n_resamples=resamples,
        confidence=confidence,
    )
    assert [each["state"] for each in found["groups"]] == sorted(samples)
    for each in found["groups"]:
        values = samples[each["state"]]
        slack = np.ptp(values) / 1000 + 1e-12
        assert each["n"] == len(values)
        assert each["estimate"] == pytest.approx(FUNCTIONS[estimator](values))
        for low, high in (INTERVALS[:2], INTERVALS[2:]):
            if each[low] is not None:
                assert min(values) - slack <= each[low] <= each[high] <= max(values) + slack
        assert (each["percentile_low"] is None) == (len(values) < 2)


# -- groups and filters ---------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed() -> Table:
    """Rows of three states, some without a stratum, a year or a weight."""
    numbers = np.random.default_rng(6)
    strata = [(None, None), ("Sex", "Male"), ("Sex", "Female"), ("Age (years)", "65+")]
    return table_of(
        Row(Q, state, *strata[numbers.integers(4)], year, round(numbers.normal(30, 5), 1), weight)
        for state in ("Ohio", "Utah", "Yap")
        for year in (None, 2011, 2012, 2015)
        for weight in (None, 3.0)
        for _ in range(6)
    )


GROUPINGS = {"state": ["state"], "stratum": ["category", "stratum"], "year": ["year"]}


@pytest.mark.parametrize("by", GROUPINGS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_each_group_is_estimated_from_its_rows(mixed: Table, by: str, estimator: str) -> None:
    frame = frame_of(mixed, Q)
    groups = frame.groupby(GROUPINGS[by])["value"]
    expected = groups.agg(["count", estimator]).reset_index()
    found = pd.DataFrame(ask(mixed, by=by, estimator=estimator, n_resamples=50)["groups"])
    for key in GROUPINGS[by]:
        assert found[key].tolist() == expected[key].tolist()
    assert found["n"].tolist() == expected["count"].tolist()
    assert found["estimate"].tolist() == pytest.approx(expected[estimator].tolist())


@pytest.mark.parametrize(
    ("filters", "condition"),
    [
        ({"years": (2011, 2012)}, "year >= 2011 and year <= 2012"),
        ({"states": ("Utah", "Yap")}, "state != 'Ohio'"),
        ({"category": "Sex"}, "category == 'Sex'"),
        ({"stratum": "65+", "years": (2012, 2020)}, "stratum == '65+' and year >= 2012"),
    ],
)
def test_only_rows_that_pass_the_filters_count(
    mixed: Table, filters: dict[str, Any], condition: str
) -> None:
    values = frame_of(mixed, Q).query(condition)["value"]
    (record,) = ask(mixed, n_resamples=2000, **filters)["groups"]
    assert record["n"] == len(values)
    assert record["estimate"] == pytest.approx(values.mean())
    assert record["standard_error"] == pytest.approx(values.std(ddof=0) / len(values) ** 0.5, 0.1)


def test_the_answer_says_what_was_asked(mixed: Table) -> None:
    found = ask(mixed, estimator="median", n_resamples=77, confidence=0.8, seed=2**53 - 1)
    del found["groups"]
    assert found == {
        "estimator": "median",
        "n_resamples": 77,
        "confidence": 0.8,
        "seed": 2**53 - 1,
    }


# -- parts ----------------------------------------------------------------------------


@pytest.mark.parametrize("by", [None, "state", "year"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_digits_do_not_depend_on_the_order_of_parts_or_on_merges(
    mixed: Table, monkeypatch: pytest.MonkeyPatch, by: str | None, estimator: str
) -> None:
    monkeypatch.setattr(bootstrap, "_PART", 1500)
    request = BootstrapRequest(
        question=Q,
        by=by,  # type: ignore[arg-type]
        estimator=estimator,  # type: ignore[arg-type]
        n_resamples=400,
        seed=4,
    )
    assert len(CI.plan(mixed, request)) >= 5

    def backwards(places: Sequence[Any]) -> Sequence[Any]:
        return list(places)[::-1]

    first = answer(CI, mixed, request)
    for fan_in in (2, 3, 7):
        assert answer(CI, mixed, request, fan_in, backwards) == first
    other = BootstrapRequest(
        question=Q,
        by=by,  # type: ignore[arg-type]
        estimator=estimator,  # type: ignore[arg-type]
        n_resamples=400,
        seed=5,
    )
    assert answer(CI, mixed, other) != first


def test_what_is_kept_of_ten_million_resamples_is_bounded() -> None:
    table = table_with({"Ohio": np.random.default_rng(1).normal(30, 5, 50)})
    request = BootstrapRequest(question=Q, n_resamples=MOST_RESAMPLES, seed=1)
    parts = CI.plan(table, request)
    assert len(parts) > 20
    assert CI.merge is not None
    merged = CI.merge(request, [CI.partial(table, request, part) for part in parts[:4]])
    ((_, numbers, counts),) = merged["tallies"]
    assert len(numbers) == len(counts) < 11 * 1024 * 2.5
    assert sum(counts) == pytest.approx(MOST_RESAMPLES * 4 / len(parts), abs=4)


def test_of_many_small_groups_no_tally_is_sent() -> None:
    random = np.random.default_rng(1)
    table = table_with({f"county {n}": random.normal(30, 5, 40) for n in range(500)})
    request = BootstrapRequest(question=Q, by="state", n_resamples=9_999, seed=1)
    sent = sizes(CI, table, request)
    assert len(sent) > 1
    assert sum(sent) < 500 * 300
    found = answer(CI, table, request)["groups"]
    assert len(found) == 500
    for each in found:
        assert each["percentile_low"] < each["estimate"] < each["percentile_high"]


def test_too_much_work_is_refused_with_what_would_be_allowed(
    mixed: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "_PART", 10_000)
    request = BootstrapRequest(question=Q, n_resamples=MOST_RESAMPLES, seed=1)
    with pytest.raises(Unanswerable, match=r"n_resamples may be about \d+"):
        CI.plan(mixed, request)


# -- real figures ---------------------------------------------------------------------

OBESITY = "Percent of adults aged 18 years and older who have obesity"


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_real_groups_are_those_of_pandas_and_their_errors_near_theory(
    name: str, estimator: str
) -> None:
    table = real_table(name)
    groups = frame_of(table, OBESITY).groupby("state")["value"]
    expected = groups.agg(["count", estimator, "std"]).reset_index()
    found = pd.DataFrame(
        ask(table, question=OBESITY, by="state", estimator=estimator, n_resamples=999)["groups"]
    )
    assert found["state"].tolist() == expected["state"].tolist()
    assert found["n"].tolist() == expected["count"].tolist()
    assert found["estimate"].tolist() == pytest.approx(expected[estimator].tolist())
    inside = (found["percentile_low"] <= found["estimate"]) & (
        found["estimate"] <= found["percentile_high"]
    )
    assert inside.all()
    if estimator == "mean":
        theory = expected["std"] / np.sqrt(expected["count"])
        assert found["standard_error"].tolist() == pytest.approx(theory.tolist(), rel=0.12)


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("state", ["Ohio", "Guam"])
def test_real_intervals_are_those_of_scipy(name: str, estimator: str, state: str) -> None:
    table = real_table(name)
    frame = frame_of(table, OBESITY)
    values = frame[frame["state"] == state]["value"].to_numpy()
    many = 5000
    (record,) = ask(
        table, question=OBESITY, states=(state,), estimator=estimator, n_resamples=many
    )["groups"]
    error = record["standard_error"]
    uncertain = math.sqrt(0.025 * 0.975 / many) / stats.norm.pdf(stats.norm.ppf(0.025))
    near = 5 * math.sqrt(2) * uncertain * error + (0 if estimator == "mean" else 0.2)
    theirs = stats.bootstrap(
        (values,),
        FUNCTIONS[estimator],
        n_resamples=many,
        method="percentile",
        rng=np.random.default_rng(1),
    )
    assert record["percentile_low"] == pytest.approx(theirs.confidence_interval.low, abs=near)
    assert record["percentile_high"] == pytest.approx(theirs.confidence_interval.high, abs=near)


# -- the row --------------------------------------------------------------------------


def test_the_example_is_a_request_that_can_be_answered(mixed: Table) -> None:
    request = msgspec.convert(dict(CI.example), BootstrapRequest)
    assert request.n_resamples <= 1000
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**CI.example, "n_resamples": MOST_RESAMPLES + 1}, BootstrapRequest)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**CI.example, "estimator": "mode"}, BootstrapRequest)
