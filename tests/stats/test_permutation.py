"""Permutation tests agree with SciPy's and with counting, whatever the order of their parts."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.loader import load_region
from server.shared_data import attach_table
from server.stats import STATISTICS, pairs
from server.stats.pairs import MOST_SPLITS, Pairs, Schedule
from server.stats.permutation import PairwiseRequest, PermutationRequest
from server.stats.statistic import QuestionRequest, Unanswerable
from server.table import Table
from tests.support.answers import answer
from tests.support.tables import Row, table_of

ROOT = Path(__file__).parents[2]
ASKED = "Percent who run"
REAL = ("cdc_brfss_2011_2021.csv.gz", "cdc_brfss_2011_2023.csv.gz")
OBESITY = "Percent of adults aged 18 years and older who have obesity"

Values = Sequence[float]


def states(**values: Values) -> Table:
    """A table of these states, each with these values, and `Empty`, which has none."""
    rows = [Row(ASKED, state, None, None, 2011, v) for state, each in values.items() for v in each]
    return table_of([*rows, Row(ASKED, "Empty", None, None, 2011, None)])


def ask(table: Table, *, how: Callable[..., Any] = answer, **fields: Any) -> Any:
    """The answer to a test of two groups."""
    request = PermutationRequest(**{"question": ASKED, "seed": 1} | fields)
    return how(STATISTICS["permutation_test"], table, request)


def ask_all(table: Table, *, how: Callable[..., Any] = answer, **fields: Any) -> Any:
    """The answer to a test of all pairs."""
    request = PairwiseRequest(**{"question": ASKED, "seed": 1} | fields)
    return how(STATISTICS["pairwise_permutation_test"], table, request)


def p_value(first: Values, second: Values, **fields: Any) -> float | None:
    p: float | None = ask(states(A=first, B=second), states=("A", "B"), **fields)["p_value"]
    return p


def counted(first: list[int], second: list[int]) -> float:
    """The exact p-value of whole numbers, by looking at every split with whole arithmetic."""
    pooled, n, m = [*first, *second], len(first), len(second)
    total = sum(pooled)

    def difference(part: int) -> int:
        return abs((n + m) * part - n * total)

    seen = difference(sum(first))
    all_of_them = [difference(sum(split)) >= seen for split in combinations(pooled, n)]
    return sum(all_of_them) / len(all_of_them)


def scipys(first: Values, second: Values, splits: float, seed: int = 0) -> float:
    from scipy.stats import permutation_test

    def statistic(x: Any, y: Any, axis: int) -> Any:
        return np.abs(x.mean(axis=axis) - y.mean(axis=axis))

    return float(
        permutation_test(
            (first, second),
            statistic,
            vectorized=True,
            n_resamples=splits,
            alternative="greater",
            rng=np.random.default_rng(seed),
        ).pvalue
    )


def drawn(seed: int, n: int, shift: float = 0.0) -> list[float]:
    """`n` figures with one decimal, as surveys give them."""
    return (np.random.default_rng(seed).normal(30 + shift, 8, n)).round(1).tolist()


TENTHS = st.lists(st.integers(0, 60), min_size=1, max_size=6)


# -- exact tests ----------------------------------------------------------------------


@given(first=TENTHS, second=TENTHS)
def test_an_exact_p_value_is_counted_with_ties_as_ties(first: list[int], second: list[int]) -> None:
    found = ask(states(A=[v / 10 for v in first], B=[v / 10 for v in second]), states=("A", "B"))
    assert found["exact"] is True
    assert found["n_permutations"] == math.comb(len(first) + len(second), len(first))
    assert found["p_value"] == pytest.approx(counted(first, second), abs=1e-15)


@given(first=TENTHS, second=TENTHS)
def test_which_group_is_first_changes_but_the_sign(first: list[int], second: list[int]) -> None:
    table = states(A=first, B=second)
    one, other = ask(table, states=("A", "B")), ask(table, states=("B", "A"))
    assert one["p_value"] == other["p_value"]
    assert one["difference"] == -other["difference"]
    assert one["groups"] == other["groups"][::-1]


@given(
    first=TENTHS,
    second=TENTHS,
    shift=st.sampled_from([-1e6, -0.3, 1e4]),
    scale=st.sampled_from([0.1, -7.3, 1e9]),
)
def test_shifting_and_scaling_all_figures_changes_no_p_value(
    first: list[int], second: list[int], shift: float, scale: float
) -> None:
    moved = [[(v + shift) * scale for v in values] for values in (first, second)]
    assert p_value(first, second) == p_value(*moved)


@pytest.mark.parametrize("scale", [1e-300, 1e300, 1.5e308])
def test_the_size_of_the_figures_changes_no_p_value(scale: float) -> None:
    first, second = [1.0], [1.0, -1.0, 0.2]
    scaled = [[v * scale for v in values] for values in (first, second)]
    with np.errstate(over="ignore"):
        assert p_value(*scaled) == p_value(first, second) == 0.75


@given(first=TENTHS, second=TENTHS)
def test_figures_far_from_zero_tie_as_near_ones_do(first: list[int], second: list[int]) -> None:
    far = [[2.0**40 + v for v in values] for values in (first, second)]
    assert p_value(first, second) == p_value(*far)


@pytest.mark.parametrize(("n", "m"), [(5, 6), (8, 8), (2, 30), (2, 50), (9, 3)])
def test_scipy_counts_the_same_where_all_splits_are_looked_at(n: int, m: int) -> None:
    first, second = drawn(n, n), drawn(m, m, 4.0)
    found = ask(states(A=first, B=second), states=("A", "B"), n_permutations=20_000)
    assert found["exact"] is True
    assert found["p_value"] == pytest.approx(scipys(first, second, math.inf), abs=1e-12)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_for_groups_of_equal_size_scipys_two_sided_test_is_the_same(seed: int) -> None:
    from scipy.stats import permutation_test

    first, second = drawn(seed, 6), drawn(seed + 10, 6, 5.0)
    theirs = permutation_test(
        (first, second), lambda x, y, axis: x.mean(axis) - y.mean(axis), n_resamples=math.inf
    )
    assert p_value(first, second) == pytest.approx(theirs.pvalue, abs=1e-12)


def test_a_test_is_exact_up_to_the_number_of_splits_and_not_beyond() -> None:
    table = states(A=drawn(1, 6), B=drawn(2, 6))
    splits = math.comb(12, 6)
    at, below = (ask(table, states=("A", "B"), n_permutations=n) for n in (splits, splits - 1))
    assert (at["exact"], at["n_permutations"]) == (True, splits)
    assert (below["exact"], below["n_permutations"]) == (False, splits - 1)


def test_more_splits_than_a_million_are_not_all_looked_at() -> None:
    sizes = Pairs.of([11, 11, 12], 10_000_000)
    assert sizes.exact.tolist() == [math.comb(22, 11), 0, 0]
    assert math.comb(23, 11) > MOST_SPLITS
    assert sizes.random.tolist() == [0, 10_000_000, 10_000_000]


@given(sizes=st.lists(st.integers(0, 10**6) | st.integers(0, 12), min_size=2, max_size=5))
def test_splits_are_counted_without_overflow(sizes: list[int]) -> None:
    found = Pairs.of(sizes, 10_000_000)
    for pair, (n, m) in enumerate(combinations(sizes, 2)):
        small = min(n, m)
        number = math.comb(n + m, min(small, 25))
        is_exact = small > 0 and number <= MOST_SPLITS
        assert found.exact[pair] == (number if is_exact else 0)
        assert found.random[pair] == (10_000_000 if small and not is_exact else 0)


# -- random tests ---------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m", "shift"), [(10, 9, 3.0), (8, 12, 5.0), (3, 70, 2.0)])
def test_random_splits_come_near_all_of_them(n: int, m: int, shift: float) -> None:
    first, second = drawn(n, n), drawn(m, m, shift)
    table, splits = states(A=first, B=second), math.comb(n + m, n)
    exact = ask(table, states=("A", "B"), n_permutations=splits)
    random = ask(table, states=("A", "B"), n_permutations=40_000)
    assert (exact["exact"], random["exact"]) == (True, False)
    p = exact["p_value"]
    assert abs(random["p_value"] - p) < 4 * math.sqrt(p * (1 - p) / 40_000) + 1 / 40_000


@pytest.mark.parametrize(("n", "m", "shift"), [(40, 60, 2.5), (200, 90, 1.0), (12, 300, 3.0)])
def test_scipy_comes_to_the_same_p_value_within_chance(n: int, m: int, shift: float) -> None:
    first, second = drawn(n, n), drawn(m, m, shift)
    ours, theirs = p_value(first, second, n_permutations=50_000), scipys(first, second, 20_000)
    assert ours is not None
    assert abs(ours - theirs) < 4 * math.sqrt(theirs * (1 - theirs) * (1 / 50_000 + 1 / 20_000))


def test_the_split_that_was_seen_counts_as_one_of_them() -> None:
    far = p_value(drawn(1, 50), drawn(2, 50, 100.0), n_permutations=999)
    assert far == 1 / 1000
    assert p_value(drawn(1, 50), drawn(2, 50), n_permutations=1) in (1 / 2, 1.0)


def test_without_a_difference_p_values_are_spread_evenly() -> None:
    from scipy.stats import kstest

    found = [
        p_value(drawn(2 * trial, 25), drawn(2 * trial + 1, 20), n_permutations=499, seed=trial)
        for trial in range(400)
    ]
    assert kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found, dtype=float) <= 0.05) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_the_same_seed_gives_the_same_and_another_one_another() -> None:
    first, second = drawn(1, 60), drawn(2, 60, 1.0)
    found = [p_value(first, second, seed=seed) for seed in (5, 5, 6)]
    assert found[0] == found[1] != found[2]


def test_each_pair_has_splits_of_its_own() -> None:
    alike = {name: drawn(1 if name in "AC" else 2, 60) for name in "ABCD"}
    records = ask_all(states(**alike))["groups"]
    p_values = {each["first"] + each["second"]: each["p_value"] for each in records}
    assert len({p_values[pair] for pair in ("AB", "AD", "CD")}) > 1


def test_every_split_counts_the_same_where_all_figures_are_equal() -> None:
    assert p_value([33.1] * 7, [33.1] * 90) == 1.0
    assert p_value([0.1 + 0.2] * 3, [0.1 + 0.2] * 2) == 1.0


# -- two groups -----------------------------------------------------------------------


def test_groups_are_in_the_order_of_the_request_with_their_means() -> None:
    table = states(Ohio=[1.0, 2.0], Utah=[4.0])
    assert ask(table, states=("Utah", "Ohio"), seed=9) == {
        "groups": [
            {"state": "Utah", "n": 1, "mean": 4.0},
            {"state": "Ohio", "n": 2, "mean": 1.5},
        ],
        "difference": 2.5,
        "p_value": pytest.approx(1 / 3),
        "n_permutations": 3,
        "exact": True,
        "seed": 9,
    }


@pytest.mark.parametrize("names", [("Empty", "Ohio"), ("Ohio", "Empty"), ("Empty", "Void")])
def test_against_a_group_without_rows_nothing_is_tested(names: tuple[str, str]) -> None:
    table = table_of(
        [
            Row(ASKED, "Ohio", None, None, 2011, 1.0),
            Row(ASKED, "Empty", None, None, 2011, None),
            Row(ASKED, "Void", None, None, 2011, None),
        ]
    )
    found = ask(table, states=names)
    assert [group["n"] for group in found["groups"]] == [int(name == "Ohio") for name in names]
    nothing = ("difference", "p_value", "exact", "n_permutations")
    assert [found[key] for key in nothing] == [None, None, False, 0]


def test_one_row_against_one_tells_nothing() -> None:
    assert p_value([1.0], [2.0]) == 1.0


DIVIDED = [
    *(Row(ASKED, "Ohio", "Age", "Total", year, v) for year, v in ((2011, 1.0), (2012, 2.0))),
    *(Row(ASKED, "Utah", "Age", "Young", year, v) for year, v in ((2011, 3.0), (None, 5.0))),
    Row(ASKED, "Utah", "Sex", "Total", 2012, 9.0),
    Row(ASKED, "Utah", "Sex", "Male", 2012, 4.0),
    Row(ASKED, "Utah", None, None, 2012, 50.0),
]


def test_a_stratum_is_taken_from_all_categories_that_have_it_or_from_one() -> None:
    table = table_of(DIVIDED)
    both = ask(table, strata=("Total", "Young"))
    assert both["groups"] == [
        {"stratum": "Total", "n": 3, "mean": 4.0},
        {"stratum": "Young", "n": 2, "mean": 4.0},
    ]
    one = ask(table, strata=("Total", "Young"), category="Age")
    assert [group["mean"] for group in one["groups"]] == [1.5, 4.0]
    elsewhere = ask(table, strata=("Total", "Male"), category="Age")
    assert [group["n"] for group in elsewhere["groups"]] == [2, 0]


def test_filters_say_which_rows_are_compared() -> None:
    table = table_of(DIVIDED)
    of_utah = ask(table, strata=("Total", "Young"), states=("Utah",))
    assert [group["mean"] for group in of_utah["groups"]] == [9.0, 4.0]
    in_2011 = ask(table, strata=("Total", "Young"), years=(2011, 2011))
    assert [group["mean"] for group in in_2011["groups"]] == [1.0, 3.0]
    two_states = ask(table, states=("Ohio", "Utah"), stratum="Total")
    assert [group["mean"] for group in two_states["groups"]] == [1.5, 9.0]
    undivided = ask(table, states=("Ohio", "Utah"))
    assert [group["n"] for group in undivided["groups"]] == [2, 5]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "give two states in `states`, or two strata in `strata`"),
        ({"states": ("Ohio",)}, "there are not two groups to compare"),
        ({"states": ("Ohio", "Utah", "Empty")}, "there are not two groups to compare"),
        ({"states": ("Ohio", "Ohio")}, "the two states are the same"),
        ({"strata": ("Total", "Total")}, "the two strata are the same"),
        ({"strata": ("Total", "Male"), "stratum": "Male"}, "but not both"),
    ],
)
def test_a_plan_says_which_groups_it_misses(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(Unanswerable, match=message):
        ask(table_of(DIVIDED), **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"n_permutations": 0},
        {"n_permutations": 10_000_001},
        {"strata": ["Total"]},
        {"strata": ["A", "B", "C"]},
        {"seed": -1},
        {"by": "state"},
    ],
)
def test_what_is_beyond_the_limits_is_no_request(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"question": ASKED} | fields, PermutationRequest)


# -- all pairs ------------------------------------------------------------------------


def test_each_pair_is_tested_as_it_would_be_alone() -> None:
    values = {"A": drawn(1, 4), "B": drawn(2, 5, 6.0), "C": drawn(3, 3, 2.0), "D": [1.0]}
    found = ask_all(states(**values))
    records = found["groups"]
    assert [(each["first"], each["second"]) for each in records] == [*combinations("ABCD", 2)]
    for each in records:
        first, second = values[each["first"]], values[each["second"]]
        assert (each["n_first"], each["n_second"]) == (len(first), len(second))
        assert each["difference"] == pytest.approx(np.mean(first) - np.mean(second))
        assert each["exact"] is True
        assert each["p_value"] == p_value(first, second)
    assert (found["n_permutations"], found["seed"]) == (999, 1)


def test_holms_correction_is_that_of_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    table = states(**{f"S{n:02}": drawn(n, 20 + n, n / 2) for n in range(12)})
    records = ask_all(table, n_permutations=4999)["groups"]
    assert len(records) == 66
    p_values = [each["p_value"] for each in records]
    assert len(set(p_values)) > 20
    expected = multipletests(p_values, method="holm")[1]
    np.testing.assert_allclose([each["p_holm"] for each in records], expected, rtol=0, atol=1e-12)


@settings(max_examples=30)
@given(counts=st.lists(st.integers(1, 1000), min_size=1, max_size=30))
def test_holm_agrees_for_any_p_values(counts: list[int]) -> None:
    from statsmodels.stats.multitest import multipletests

    from server.stats.permutation import _holm

    p_values = np.array(counts) / 1000
    expected = multipletests(p_values, method="holm")[1]
    np.testing.assert_allclose(_holm(p_values), expected, rtol=0, atol=1e-12)


def test_without_any_difference_hardly_a_corrected_p_value_is_small() -> None:
    alarms = sum(
        min(
            each["p_holm"]
            for each in ask_all(
                states(**{f"S{n}": drawn(10 * trial + n, 12) for n in range(4)}), seed=trial
            )["groups"]
        )
        <= 0.05
        for trial in range(200)
    )
    assert alarms / 200 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


def test_by_stratum_a_record_says_of_which_categories() -> None:
    records = ask_all(table_of(DIVIDED), by="stratum")["groups"]
    assert [
        (each["first_category"], each["first"], each["second_category"], each["second"])
        for each in records
    ] == [
        ("Age", "Total", "Age", "Young"),
        ("Age", "Total", "Sex", "Male"),
        ("Age", "Total", "Sex", "Total"),
        ("Age", "Young", "Sex", "Male"),
        ("Age", "Young", "Sex", "Total"),
        ("Sex", "Male", "Sex", "Total"),
    ]
    assert list(records[0]) == [
        *("first_category", "first", "second_category", "second"),
        *("n_first", "n_second", "difference", "p_value", "exact", "p_holm"),
    ]


def test_filters_say_which_states_are_paired_and_by_which_rows() -> None:
    table = table_of([*DIVIDED, Row(ASKED, "Yap", "Sex", "Male", 2012, 7.0)])

    def paired(**fields: Any) -> list[tuple[str, str, int, int]]:
        records = ask_all(table, **fields)["groups"]
        return [(r["first"], r["second"], r["n_first"], r["n_second"]) for r in records]

    assert paired(states=("Yap", "Ohio")) == [("Ohio", "Yap", 2, 1)]
    assert paired(category="Sex") == [("Utah", "Yap", 2, 1)]
    assert paired(years=(2012, 2012), states=("Ohio", "Utah")) == [("Ohio", "Utah", 1, 3)]


def test_fewer_than_two_groups_make_no_pair() -> None:
    for fields in ({"states": ("Ohio",)}, {"states": ("Empty",)}):
        found = ask_all(states(Ohio=[1.0, 2.0]), **fields)
        assert found == {"groups": [], "n_permutations": 999, "seed": 1}


def test_too_many_pairs_are_refused_with_the_limit() -> None:
    table = states(**{f"S{n}": [float(n)] for n in range(142)})
    with pytest.raises(Unanswerable, match="10011 pairs, and at most 10000"):
        ask_all(table)


def test_too_many_parts_are_refused_with_what_helps() -> None:
    table = states(**{f"S{n}": drawn(n, 50) for n in range(141)})
    request = PairwiseRequest(question=ASKED, n_permutations=1_000_000, seed=1)
    with pytest.raises(Unanswerable, match="ask for fewer permutations"):
        STATISTICS["pairwise_permutation_test"].plan(table, request)


def test_a_plan_is_lazy_however_many_parts_there_are() -> None:
    request = PermutationRequest(
        question=ASKED, states=("A", "B"), n_permutations=10_000_000, seed=1
    )
    plan = STATISTICS["permutation_test"].plan(states(A=drawn(1, 900), B=drawn(2, 900)), request)
    assert isinstance(plan, range)
    assert len(plan) > 700


# -- parts ----------------------------------------------------------------------------

SIZES = st.lists(st.integers(0, 15) | st.integers(0, 100_000), min_size=2, max_size=9)


@settings(max_examples=60)
@given(sizes=SIZES, most=st.integers(1, 20_000))
def test_every_split_is_in_one_part_and_no_part_is_empty_or_long(
    sizes: list[int], most: int
) -> None:
    work = Pairs.of(sizes, most)
    schedule = Schedule.of(work)
    parts = [list(schedule.part(part)) for part in range(schedule.parts)]
    expected = [
        (pair, chunk)
        for pair in range(len(work.first))
        for chunk in range(
            1 if work.exact[pair] else math.ceil(work.random[pair] / work.length[pair])
        )
    ]
    assert [tuple(chunk) for part in parts for chunk in part] == expected
    assert all(parts) or not expected
    for part in parts:
        cost = sum(int(schedule.steps[chunk.pair]) for chunk in part)
        assert cost <= 2 * pairs._PART_NS


@pytest.fixture
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts so short that small jobs have many."""
    monkeypatch.setattr(pairs, "_PART_NS", 200_000)


ORDERS: list[Callable[[Sequence[Any]], Sequence[Any]]] = [
    lambda parts: parts[::-1],
    lambda parts: [*parts[1::2], *parts[::2]],
]


@pytest.mark.usefixtures("short_parts")
@pytest.mark.parametrize("fan_in", [2, 3, 64])
def test_parts_in_any_order_and_merged_in_any_number_give_the_same(fan_in: int) -> None:
    table = states(A=drawn(1, 40), B=drawn(2, 44, 1.0), C=drawn(3, 2), D=drawn(4, 2), E=[1.0])
    for asked, fields in (
        (ask, {"states": ("A", "B"), "n_permutations": 20_000}),
        (ask_all, {"n_permutations": 3000}),
    ):
        expected = asked(table, **fields)
        for order in ORDERS:

            def how(statistic: Any, table: Table, request: Any, order: Any = order) -> Any:
                assert len(statistic.plan(table, request)) > 10
                return answer(statistic, table, request, fan_in, order)

            assert asked(table, how=how, **fields) == expected


@pytest.mark.usefixtures("short_parts")
def test_a_merged_partial_is_as_small_as_one() -> None:
    table = states(A=drawn(1, 40), B=drawn(2, 44, 1.0))
    statistic = STATISTICS["permutation_test"]
    request = PermutationRequest(question=ASKED, states=("A", "B"), n_permutations=20_000, seed=1)
    partials = [statistic.partial(table, request, part) for part in statistic.plan(table, request)]
    assert len(partials) > 10
    assert len({partial[0][1] for partial in partials[:-1]}) > 5, "each has splits of its own"
    assert statistic.merge is not None
    merged = statistic.merge(request, partials)
    assert merged == [[0, sum(partial[0][1] for partial in partials)]]
    assert statistic.merge(request, [merged]) == merged
    assert statistic.merge(request, []) == []


def test_answers_have_numbers_that_json_can_carry() -> None:
    def raw(statistic: Any, table: Table, request: Any) -> Any:
        parts = statistic.plan(table, request)
        partials = [statistic.partial(table, request, part) for part in parts]
        return statistic.combine(table, request, partials)

    table = states(A=drawn(1, 40), B=drawn(2, 3), C=[1.0])
    for found in (
        ask(table, how=raw, states=("A", "Empty")),
        ask(table, how=raw, states=("A", "B")),
        ask_all(table, how=raw),
    ):
        for value in leaves(found):
            assert value is None or type(value) in (bool, int, str, float)
            assert type(value) is not float or math.isfinite(value)


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from leaves(each)
    else:
        yield value


# -- the shipped table and the real ones ----------------------------------------------


@pytest.fixture(scope="module")
def sample() -> Iterator[Table]:
    with load_region(ROOT / "data" / "sample.csv.gz", ROOT / "data" / "cdc_brfss.toml") as region:
        yield attach_table(region.fd)


@pytest.mark.parametrize("name", ["permutation_test", "pairwise_permutation_test"])
def test_the_example_has_an_answer_on_the_shipped_table(name: str, sample: Table) -> None:
    statistic = STATISTICS[name]
    request: QuestionRequest = msgspec.convert(dict(statistic.example), statistic.request)
    found = answer(statistic, sample, request)
    assert len(found["groups"]) in (2, 3)
    records = found["groups"] if name.startswith("pairwise") else [found]
    assert all(0 < record["p_value"] <= 1 for record in records)
    assert statistic.formula.endswith(".")
    assert "2010" in statistic.source


@pytest.fixture(scope="module", params=REAL)
def real(request: pytest.FixtureRequest) -> Iterator[Table]:
    folder = os.environ.get("SPORTIV_TEST_DATA")
    if not folder:
        pytest.skip("SPORTIV_TEST_DATA does not name a folder with the real CDC tables")
    data = Path(folder) / request.param
    with load_region(data, ROOT / "data" / "cdc_brfss.toml") as region:
        yield attach_table(region.fd)


def values_of(table: Table, **codes: str) -> list[float]:
    """The figures about obesity of these names, by looking at every row."""
    wanted = table.question == table.names.code("question", OBESITY)
    for key, name in codes.items():
        wanted = wanted & (getattr(table, key) == table.names.code(key, name))
    found: list[float] = table.value[wanted].tolist()
    return found


def test_on_real_states_scipy_says_the_same(real: Table) -> None:
    first, second = (values_of(real, location=state) for state in ("Ohio", "Michigan"))
    found = ask(real, question=OBESITY, states=("Ohio", "Michigan"), n_permutations=50_000)
    assert [group["n"] for group in found["groups"]] == [len(first), len(second)]
    assert found["difference"] == pytest.approx(np.mean(first) - np.mean(second), abs=1e-9)
    theirs = scipys(first, second, 5000)
    assert abs(found["p_value"] - theirs) < 4 * math.sqrt(0.25 / 5000)


def test_on_real_strata_of_one_year_all_splits_are_counted(real: Table) -> None:
    first, second = (
        values_of(real, stratum=stratum, location="Ohio") for stratum in ("Male", "Female")
    )
    assert len(first) == len(second) > 9
    found = ask(
        real,
        question=OBESITY,
        strata=("Male", "Female"),
        states=("Ohio",),
        years=(2011, 2018),
        n_permutations=20_000,
    )
    assert found["exact"] is True
    expected = scipys(first[:8], second[:8], math.inf)
    assert found["p_value"] == pytest.approx(expected, abs=1e-12)


def test_all_real_states_are_paired_and_corrected(real: Table) -> None:
    from statsmodels.stats.multitest import multipletests

    records = ask_all(real, question=OBESITY, n_permutations=99)["groups"]
    names = {name for name in real.names.location if values_of(real, location=name)}
    assert [(each["first"], each["second"]) for each in records] == [
        *combinations(sorted(names), 2)
    ]
    expected = multipletests([each["p_value"] for each in records], method="holm")[1]
    np.testing.assert_allclose([each["p_holm"] for each in records], expected, rtol=0, atol=1e-12)
