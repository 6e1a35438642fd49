"""The nine means agree with means taken over the rows one by one, and are pure."""

import ast
import copy
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import server.stats
from server.stats import STATISTICS
from server.stats.statistic import QuestionRequest, StateRequest, Statistic
from server.table import Table
from tests.support import answers
from tests.support.tables import Row, table_of

LOW, HIGH = "Percent who sit", "Percent who run"
QUESTIONS = (LOW, HIGH, "Nobody was asked this")
STATES = ("Alabama", "Coeur d'Alene", 'The "O" State', "Éire", "Ohio", "Utah", "Yap", "Ål\\and")
STRATA = ((None, None), ("Age (years)", "18 - 24"), ("Age (years)", "65+"), ("Sex", 'It\'s "me"'))

NINE = {
    "states_mean": QuestionRequest,
    "state_mean": StateRequest,
    "best5": QuestionRequest,
    "worst5": QuestionRequest,
    "global_mean": QuestionRequest,
    "diff_from_mean": QuestionRequest,
    "state_diff_from_mean": StateRequest,
    "mean_by_category": QuestionRequest,
    "state_mean_by_category": StateRequest,
}

EXACT = st.integers(-800, 800).map(lambda n: n / 8)
"""Values whose sums are exact, so that means agree to the last bit in any order of adding."""


def make_row(
    question: str,
    state: str,
    division: tuple[str | None, str | None],
    year: int | None,
    value: float | None,
) -> Row:
    return Row(question, state, *division, year, value)


ROWS = st.lists(
    st.builds(
        make_row,
        st.sampled_from(QUESTIONS[:2]),
        st.sampled_from(STATES),
        st.sampled_from(STRATA),
        st.sampled_from([None, 2011, 2012, 2022]),
        st.none() | EXACT | st.sampled_from([0.0, 1.0]),
    ),
    max_size=40,
)

UNVALUED = [
    Row(question, state, "Age (years)", "18 - 24", 2011, None)
    for question in QUESTIONS
    for state in STATES
]
"""What makes every name known without giving any question a row."""


def answer(name: str, table: Table, question: str, state: str = "Ohio", **filters: Any) -> Any:
    """What a client reads, by way of the plan and the combination."""
    statistic = STATISTICS[name]
    asks_state = "state" in statistic.request.__struct_fields__
    request = statistic.request(*((question, state) if asks_state else (question,)), **filters)
    return answers.answer(statistic, table, request)


# -- the same, one row at a time ------------------------------------------------------


class Reference:
    """The nine statistics, computed from rows by nothing but loops."""

    def __init__(self, rows: Iterable[Row], question: str) -> None:
        self.rows = [row for row in rows if row.question == question and row.value is not None]
        self.low_is_better = question == LOW

    def mean(self, rows: Iterable[Row]) -> float | None:
        values = [row.value for row in rows if row.value is not None]
        return math.fsum(values) / len(values) if values else None

    def means(self, key: Callable[[Row], Any], rows: Iterable[Row]) -> dict[Any, float]:
        groups = defaultdict(list)
        for row in rows:
            groups[key(row)].append(row)
        means = {name: self.mean(group) for name, group in sorted(groups.items())}
        return {name: mean for name, mean in means.items() if mean is not None}

    def of_state(self, state: str) -> list[Row]:
        return [row for row in self.rows if row.location == state]

    def states_mean(self, state: str) -> dict[str, float]:
        means = self.means(lambda row: row.location, self.rows)
        return {name: means[name] for name in sorted(means, key=lambda name: (means[name], name))}

    def state_mean(self, state: str) -> dict[str, float | None]:
        return {state: self.mean(self.of_state(state))}

    def five(self, lowest: bool) -> dict[str, float]:
        means = self.means(lambda row: row.location, self.rows)
        sign = 1 if lowest else -1
        order = sorted(means, key=lambda name: (sign * means[name], name))
        return {name: means[name] for name in order[:5]}

    def best5(self, state: str) -> dict[str, float]:
        return self.five(lowest=self.low_is_better)

    def worst5(self, state: str) -> dict[str, float]:
        return self.five(lowest=not self.low_is_better)

    def global_mean(self, state: str) -> dict[str, float | None]:
        return {"global_mean": self.mean(self.rows)}

    def diff_from_mean(self, state: str) -> dict[str, float]:
        overall = self.mean(self.rows)
        means = self.means(lambda row: row.location, self.rows)
        return {} if overall is None else {name: overall - means[name] for name in means}

    def state_diff_from_mean(self, state: str) -> dict[str, float | None]:
        overall, mean = self.mean(self.rows), self.mean(self.of_state(state))
        return {state: None if overall is None or mean is None else overall - mean}

    def mean_by_category(self, state: str) -> dict[str, float]:
        divided = [row for row in self.rows if row.category is not None]
        means = self.means(lambda row: (row.location, row.category, row.stratum), divided)
        return {str(key): mean for key, mean in means.items()}

    def state_mean_by_category(self, state: str) -> dict[str, dict[str, float]]:
        divided = [row for row in self.of_state(state) if row.category is not None]
        means = self.means(lambda row: (row.category, row.stratum), divided)
        return {state: {str(key): mean for key, mean in means.items()}}


@pytest.mark.parametrize("name", NINE)
@given(rows=ROWS, question=st.sampled_from(QUESTIONS), state=st.sampled_from(STATES))
def test_an_answer_is_that_of_the_rows_in_content_and_in_order(
    name: str, rows: list[Row], question: str, state: str
) -> None:
    table = table_of([*rows, *UNVALUED], better_low=[LOW])
    expected = getattr(Reference(rows, question), name)(state)
    found = answer(name, table, question, state)
    assert found == expected
    assert list(found) == list(expected)
    if isinstance(inner := found.get(state), dict):
        assert list(inner) == list(expected[state])


FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "years": st.sampled_from([(2011, 2011), (2011, 2012), (2013, 2030), (2011, 2022)]),
        "states": st.lists(st.sampled_from(STATES), min_size=1, max_size=4).map(tuple),
        "category": st.sampled_from(["Age (years)", "Sex"]),
        "stratum": st.sampled_from(["18 - 24", "65+"]),
    },
)


def passes(row: Row, filters: dict[str, Any]) -> bool:
    """Whether a row counts, read off the filters' descriptions."""
    first, last = filters.get("years", (-math.inf, math.inf))
    return (
        ("years" not in filters or (row.year is not None and first <= row.year <= last))
        and row.location in filters.get("states", STATES)
        and row.category == filters.get("category", row.category)
        and row.stratum == filters.get("stratum", row.stratum)
    )


@pytest.mark.parametrize("name", NINE)
@given(rows=ROWS, filters=FILTERS, state=st.sampled_from(STATES))
def test_with_filters_an_answer_is_that_of_a_table_of_the_rows_that_pass(
    name: str, rows: list[Row], filters: dict[str, Any], state: str
) -> None:
    everything = [*rows, *UNVALUED, *(row._replace(stratum="65+") for row in UNVALUED)]
    table = table_of(everything, better_low=[LOW])
    for question in QUESTIONS:
        reference = Reference([row for row in rows if passes(row, filters)], question)
        expected = getattr(reference, name)(state)
        found = answer(name, table, question, state, **filters)
        assert found == expected
        assert list(found) == list(expected)


@pytest.mark.parametrize("name", NINE)
@settings(max_examples=30)
@given(rows=ROWS)
def test_every_number_has_a_fraction(name: str, rows: list[Row]) -> None:
    table = table_of([*rows, *UNVALUED], better_low=[LOW])
    for question in QUESTIONS:
        for value in leaves(answer(name, table, question)):
            assert value is None or type(value) is float


def leaves(value: Any) -> list[Any]:
    if not isinstance(value, dict):
        return [value]
    assert all(type(key) is str for key in value)
    return [leaf for each in value.values() for leaf in leaves(each)]


@pytest.mark.parametrize("name", NINE)
@settings(max_examples=30)
@given(rows=ROWS)
def test_asking_twice_gives_the_same_and_changes_nothing(name: str, rows: list[Row]) -> None:
    table = table_of([*rows, *UNVALUED], better_low=[LOW])
    before = copy.deepcopy((table.names, table.arrays()))
    first = answer(name, table, HIGH)
    kept = copy.deepcopy(first)
    assert answer(name, table, HIGH) == kept
    assert first == kept
    assert table.names == before[0]
    for key, array in table.arrays().items():
        np.testing.assert_array_equal(array, before[1][key])


# -- a larger table, and pandas -------------------------------------------------------


@pytest.fixture(scope="module")
def many() -> pd.DataFrame:
    source = np.random.default_rng(20260131)
    count = 6000
    division = source.integers(len(STRATA), size=count)
    return pd.DataFrame(
        {
            "question": source.choice(QUESTIONS[:2], count),
            "location": source.choice([f"State {number:02}" for number in range(50)], count),
            "category": [STRATA[number][0] for number in division],
            "stratum": [STRATA[number][1] for number in division],
            "year": source.integers(2011, 2023, count),
            "value": source.uniform(5.0, 95.0, count).round(1),
        }
    )


@pytest.fixture(scope="module")
def large(many: pd.DataFrame) -> Table:
    rows = many.astype(object).where(many.notna(), None).itertuples(index=False)
    return table_of((Row(*row) for row in rows), better_low=[LOW])


@pytest.mark.parametrize("question", [LOW, HIGH])
def test_pandas_says_the_same(many: pd.DataFrame, large: Table, question: str) -> None:
    rows = many[many["question"] == question]
    overall = rows["value"].mean()
    by_state = rows.groupby("location")["value"].mean()
    by_stratum = rows.groupby(["location", "category", "stratum"])["value"].mean()
    ascending = by_state.sort_values()
    best, worst = (ascending, ascending[::-1]) if question == LOW else (ascending[::-1], ascending)
    state = "State 07"
    near = pytest.approx

    assert answer("global_mean", large, question) == near({"global_mean": overall})
    assert answer("state_mean", large, question, state) == near({state: by_state[state]})
    assert answer("states_mean", large, question) == near(ascending.to_dict())
    assert list(answer("states_mean", large, question)) == list(ascending.index)
    assert list(answer("best5", large, question)) == list(best.index[:5])
    assert answer("best5", large, question) == near(best[:5].to_dict())
    assert list(answer("worst5", large, question)) == list(worst.index[:5])
    assert answer("worst5", large, question) == near(worst[:5].to_dict())
    assert answer("diff_from_mean", large, question) == near((overall - by_state).to_dict())
    assert answer("state_diff_from_mean", large, question, state) == near(
        {state: overall - by_state[state]}
    )
    assert answer("mean_by_category", large, question) == near(
        {str(key): mean for key, mean in by_stratum.items()}
    )
    assert answer("state_mean_by_category", large, question, state)[state] == near(
        {str(key): mean for key, mean in by_stratum[state].items()}
    )


# -- examples -------------------------------------------------------------------------


def simple(question: str, means: dict[str, float]) -> list[Row]:
    return [Row(question, state, None, None, 2011, mean) for state, mean in means.items()]


SEVEN = {"G": 7.0, "F": 6.0, "E": 5.0, "D": 4.0, "C": 3.0, "B": 2.0, "A": 1.0}


def test_best_is_lowest_where_less_is_better_and_else_highest() -> None:
    table = table_of([*simple(LOW, SEVEN), *simple(HIGH, SEVEN)], better_low=[LOW])
    assert list(answer("best5", table, LOW)) == ["A", "B", "C", "D", "E"]
    assert list(answer("worst5", table, LOW)) == ["G", "F", "E", "D", "C"]
    assert list(answer("best5", table, HIGH)) == ["G", "F", "E", "D", "C"]
    assert list(answer("worst5", table, HIGH)) == ["A", "B", "C", "D", "E"]


@pytest.mark.parametrize("name", ["states_mean", "best5", "worst5"])
@pytest.mark.parametrize("question", [LOW, HIGH])
def test_states_with_the_same_mean_are_in_the_order_of_their_names(
    name: str, question: str
) -> None:
    table = table_of(simple(question, dict.fromkeys("GFEDCBA", 1.5)), better_low=[LOW])
    assert list(answer(name, table, question))[:5] == ["A", "B", "C", "D", "E"]


def test_five_are_all_where_there_are_fewer() -> None:
    table = table_of(simple(HIGH, {"A": 1.0, "B": 2.0}))
    assert answer("best5", table, HIGH) == {"B": 2.0, "A": 1.0}
    assert answer("worst5", table, HIGH) == {"A": 1.0, "B": 2.0}


def test_a_mean_is_over_rows_not_over_years_or_strata() -> None:
    table = table_of(
        [
            Row(HIGH, "Ohio", "Sex", "Female", 2011, 1.0),
            Row(HIGH, "Ohio", "Sex", "Female", 2011, 1.0),
            Row(HIGH, "Ohio", "Sex", "Male", 2012, 4.0, weight=1e6),
        ]
    )
    assert answer("state_mean", table, HIGH) == {"Ohio": 2.0}


def test_a_row_without_a_stratum_counts_everywhere_but_by_category() -> None:
    table = table_of(
        [Row(HIGH, "Ohio", None, None, 2011, 5.0), Row(HIGH, "Ohio", "Sex", "Male", 2011, 1.0)]
    )
    assert answer("global_mean", table, HIGH) == {"global_mean": 3.0}
    assert answer("mean_by_category", table, HIGH) == {"('Ohio', 'Sex', 'Male')": 1.0}
    assert answer("state_mean_by_category", table, HIGH) == {"Ohio": {"('Sex', 'Male')": 1.0}}


def test_the_key_is_the_text_of_a_python_tuple() -> None:
    names = ("Hawai'i", 'Say "x"', "a\\b\n'\"")
    table = table_of([Row(HIGH, *names, 2011, 2.0)])
    (key,) = answer("mean_by_category", table, HIGH)
    assert key == str(names)
    assert ast.literal_eval(key) == names
    (inner,) = answer("state_mean_by_category", table, HIGH, "Hawai'i")["Hawai'i"]
    assert ast.literal_eval(inner) == names[1:]


def test_what_has_no_value_is_undefined_and_left_out_of_lists() -> None:
    table = table_of([*simple(HIGH, {"Utah": 2.0}), *UNVALUED])
    assert answer("state_mean", table, HIGH, "Ohio") == {"Ohio": None}
    assert answer("state_diff_from_mean", table, HIGH, "Ohio") == {"Ohio": None}
    assert answer("state_mean_by_category", table, HIGH, "Ohio") == {"Ohio": {}}
    for name in ("states_mean", "best5", "worst5", "diff_from_mean"):
        assert list(answer(name, table, HIGH)) == ["Utah"]
    assert answer("global_mean", table, QUESTIONS[2]) == {"global_mean": None}
    for name in ("states_mean", "best5", "worst5", "diff_from_mean", "mean_by_category"):
        assert answer(name, table, QUESTIONS[2]) == {}


def test_a_negative_difference_lies_above_the_mean() -> None:
    table = table_of(simple(HIGH, {"Utah": 1.0, "Ohio": 4.0}))
    assert answer("diff_from_mean", table, HIGH) == {"Ohio": -1.5, "Utah": 1.5}


# -- the registry ---------------------------------------------------------------------


@pytest.mark.parametrize("name", NINE)
def test_each_of_the_nine_is_announced_once_under_its_name(name: str) -> None:
    statistic = STATISTICS[name]
    assert isinstance(statistic, Statistic)
    assert statistic.name == name
    assert statistic.request is NINE[name]
    assert statistic.summary.endswith(".")


# -- purity ---------------------------------------------------------------------------

BANNED_MODULES = {
    *("asyncio", "builtins", "concurrent", "contextvars", "ctypes", "datetime", "fcntl", "glob"),
    *("http", "io", "logging", "mmap", "multiprocessing", "os", "pathlib", "pickle", "queue"),
    *("random", "requests", "secrets", "select", "shutil", "signal", "socket", "sqlite3"),
    *(
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "urllib",
        "uuid",
        "warnings",
        "weakref",
    ),
}
BANNED_NAMES = {
    *("__import__", "breakpoint", "compile", "eval", "exec", "globals", "input", "open", "print"),
    *("setattr", "delattr", "vars"),
}
OWN_MODULES = {"server.stats", "server.table"}
SEEDED = {
    "BitGenerator",
    "Generator",
    "PCG64",
    "PCG64DXSM",
    "Philox",
    "SeedSequence",
    "default_rng",
}


def impurities(source: str) -> list[str]:
    """What in a module of statistics reaches beyond its arguments."""
    return [
        f"line {getattr(node, 'lineno', 0)}: {what}"
        for node in ast.walk(ast.parse(source))
        for what in impurities_of(node)
    ]


def impurities_of(node: ast.AST) -> Sequence[str]:
    match node:
        case ast.Import(names):
            return [f"imports {name.name}" for name in names if is_banned(name.name)]
        case ast.ImportFrom(module, names, level):
            found = [f"imports {module}"] if level or is_banned(module or "") else []
            unseeded = {name.name for name in names} - SEEDED if module == "numpy.random" else set()
            return found + [f"imports the global {name}" for name in unseeded]
        case ast.Global(names) | ast.Nonlocal(names):
            return [f"keeps state in {', '.join(names)}"]
        case ast.Name(name) if name in BANNED_NAMES:
            return [f"uses {name}"]
        case ast.Attribute(ast.Attribute(_, "random"), name) if name not in SEEDED:
            return [f"uses the global generator's {name}"]
        case ast.Attribute(_, name) if name in {"tofile", "fromfile", "memmap", "save", "load"}:
            return [f"reads or writes a file by {name}"]
        case ast.Call(ast.Attribute(_, "default_rng") | ast.Name("default_rng"), [], []):
            return ["uses a generator without a seed"]
        case ast.FunctionDef(args=arguments) | ast.Lambda(args=arguments):
            defaults = [*arguments.defaults, *arguments.kw_defaults]
            shared = [each for each in defaults if isinstance(each, ast.List | ast.Dict | ast.Set)]
            return ["keeps state in a default" for _ in shared]
        case ast.AsyncFunctionDef() | ast.Await():
            return ["is asynchronous"]
    return []


def is_banned(module: str) -> bool:
    root = module.partition(".")[0]
    own = any(module == each or module.startswith(f"{each}.") for each in OWN_MODULES)
    return root in BANNED_MODULES or (root == "server" and not own)


MODULES = sorted(Path(server.stats.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_statistics_reach_for_nothing_but_their_arguments(path: Path) -> None:
    assert impurities(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "import os.path as p",
        "from io import StringIO",
        "from time import time",
        "import numpy, logging",
        "from server.ledger import Ledger",
        "import server.settings",
        "from . import statistic",
        "def f():\n    import threading",
        "from numpy.random import rand",
        "import numpy as np\nnp.random.seed(1)",
        "import numpy as np\nnp.random.default_rng()",
        "import random",
        "def f():\n    global n\n    n = 1",
        "def f(seen={}):\n    pass",
        "print(1)",
        "open('x')",
        "import numpy as np\nnp.save('x', [])",
        "async def f(): pass",
    ],
)
def test_an_impure_statistic_would_be_noticed(source: str) -> None:
    assert impurities(source)


@pytest.mark.parametrize(
    "source",
    [
        "import math",
        "from collections.abc import Iterator",
        "from server.table import Table",
        "from server.stats.statistic import Statistic",
        "import numpy as np\nnp.random.default_rng(7).integers(3)",
        "from numpy.random import default_rng, Generator\ndefault_rng(1)",
    ],
)
def test_a_pure_one_would_not(source: str) -> None:
    assert impurities(source) == []
