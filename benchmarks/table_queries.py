"""The nine statistics of group sums as other libraries answer them, on columns in memory.

Every side has the same rows in the same order, sorted by question and the other keys, with
texts as codes. An answer is whatever the library gives as plain Python, and `answers` is
the same for all: keys joined to a number.
"""

from collections.abc import Callable, Iterable
from typing import Any

from server.stats import STATISTICS
from server.table import KEYS, MISSING, NO_YEAR, Table

QUESTION = "Percent of adults aged 18 years and older who have obesity"
STATE = "Ohio"
NAMES = (
    *("states_mean", "state_mean", "best5", "worst5", "global_mean", "diff_from_mean"),
    *("state_diff_from_mean", "mean_by_category", "state_mean_by_category"),
)

Queries = dict[str, Callable[[], Any]]
"""By the name of the statistic, what computes its answer."""

_GROUPS = ["location", "category", "stratum"]


def ours(table: Table) -> Queries:
    """Read off the group sums; the answers are JSON-ready."""

    def query(name: str) -> Callable[[], Any]:
        statistic = STATISTICS[name]
        state = {"state": STATE} if "state" in statistic.request.__struct_fields__ else {}
        request = statistic.request(question=QUESTION, **state)
        return lambda: statistic.partial(table, request, None)

    return {name: query(name) for name in NAMES}


def answers(name: str, data: Any) -> list[tuple[str, float]]:
    """What an answer says, in an order of its own where it has one."""
    if isinstance(data, int | float):
        return [("", float(data))]
    if isinstance(data, dict):  # ours
        (only, *_) = data.values()
        if isinstance(only, dict):
            data = only
        elif len(data) == 1:
            return [("", float(only))]
        data = [(*(_parts(key)), value) for key, value in data.items()]
    rows = [("/".join(map(str, row[:-1])), float(row[-1])) for row in data]
    return rows if name in ("states_mean", "best5", "worst5") else sorted(rows)


def _parts(key: str) -> Iterable[str]:
    import ast

    return ast.literal_eval(key) if key.startswith("(") else (key,)


# -- polars ---------------------------------------------------------------------------


def polars_frame(table: Table) -> Any:
    """The table's rows as a DataFrame."""
    import polars as pl

    columns = {}
    for key in KEYS[:-1]:
        codes = pl.Series(key, getattr(table, key))
        codes = codes.set(codes == MISSING, None).cast(pl.UInt32)
        columns[key] = codes.cat.to(pl.Enum(getattr(table.names, key)))
    year = pl.Series("year", table.year)
    columns["year"] = year.set(year == NO_YEAR, None)
    return pl.DataFrame(columns | {"value": pl.Series("value", table.value)})


def by_polars(table: Table) -> Queries:
    """Lazy queries, so that polars plans each as it likes."""
    import polars as pl

    frame = polars_frame(table)
    value = pl.col("value")
    of_question = frame.lazy().filter(pl.col("question") == QUESTION)
    of_state = of_question.filter(pl.col("location") == STATE)
    means = of_question.group_by("location").agg(value.mean())
    divided = of_question.filter(pl.col("category").is_not_null())
    overall = of_question.select(value.mean().alias("overall"))
    differences = means.join(overall, how="cross")
    return {
        "states_mean": lambda: means.sort("value", "location").collect().rows(),
        "state_mean": lambda: of_state.select(value.mean()).collect().item(),
        "best5": lambda: means.sort("value", "location").head(5).collect().rows(),
        "worst5": lambda: (
            means.sort("value", "location", descending=[True, False]).head(5).collect().rows()
        ),
        "global_mean": lambda: overall.collect().item(),
        "diff_from_mean": lambda: (
            differences.select("location", pl.col("overall") - value).collect().rows()
        ),
        "state_diff_from_mean": lambda: (
            of_question.select(value.mean() - value.filter(pl.col("location") == STATE).mean())
            .collect()
            .item()
        ),
        "mean_by_category": lambda: divided.group_by(_GROUPS).agg(value.mean()).collect().rows(),
        "state_mean_by_category": lambda: (
            divided.filter(pl.col("location") == STATE)
            .group_by(_GROUPS[1:])
            .agg(value.mean())
            .collect()
            .rows()
        ),
    }


# -- DuckDB ---------------------------------------------------------------------------

_OF_QUESTION = "FROM t WHERE question = $question"
_OF_STATE = f"{_OF_QUESTION} AND location = $state"
_MEANS = f"SELECT location, avg(value) AS mean {_OF_QUESTION} GROUP BY location"
_SQL = {
    "states_mean": f"{_MEANS} ORDER BY mean, location",
    "state_mean": f"SELECT avg(value) {_OF_STATE}",
    "best5": f"{_MEANS} ORDER BY mean, location LIMIT 5",
    "worst5": f"{_MEANS} ORDER BY mean DESC, location LIMIT 5",
    "global_mean": f"SELECT avg(value) {_OF_QUESTION}",
    "diff_from_mean": (
        f"SELECT location, (SELECT avg(value) {_OF_QUESTION}) - avg(value)"
        f" {_OF_QUESTION} GROUP BY location"
    ),
    "state_diff_from_mean": (
        f"SELECT avg(value) - avg(value) FILTER (WHERE location = $state) {_OF_QUESTION}"
    ),
    "mean_by_category": (
        f"SELECT location, category, stratum, avg(value) {_OF_QUESTION}"
        " AND category IS NOT NULL GROUP BY ALL"
    ),
    "state_mean_by_category": (
        f"SELECT category, stratum, avg(value) {_OF_STATE} AND category IS NOT NULL GROUP BY ALL"
    ),
}


def by_duckdb(table: Table) -> Queries:
    """SQL over a table of its own in memory, whose texts are of enumerated types."""
    import duckdb

    connection = duckdb.connect()
    connection.register("frame", pandas_frame(table))
    connection.execute("CREATE TABLE t AS SELECT * FROM frame")
    connection.unregister("frame")

    def query(sql: str) -> Callable[[], Any]:
        named = {"question": QUESTION} | ({"state": STATE} if "$state" in sql else {})

        def ask() -> Any:
            rows = connection.execute(sql, named).fetchall()
            return rows[0][0] if len(rows[0]) == 1 else rows

        return ask

    return {name: query(_SQL[name]) for name in NAMES}


# -- pandas ---------------------------------------------------------------------------


def pandas_frame(table: Table) -> Any:
    """The table's rows as a DataFrame; MISSING is what pandas has for no category, too."""
    import pandas as pd

    columns: dict[str, Any] = {
        key: pd.Categorical.from_codes(getattr(table, key), list(getattr(table.names, key)))
        for key in KEYS[:-1]
    }
    return pd.DataFrame(columns | {"year": table.year, "value": table.value})


def by_pandas(table: Table) -> Queries:
    """A mask, then groups of what is left."""
    frame = pandas_frame(table)

    def of_question() -> Any:
        return frame[frame["question"] == QUESTION]

    def of_state() -> Any:
        return frame[(frame["question"] == QUESTION) & (frame["location"] == STATE)]

    def mean_by(rows: Any, keys: list[str]) -> Any:
        return rows.groupby(keys, observed=True)["value"].mean()

    def means() -> Any:
        return mean_by(of_question(), ["location"]).sort_values(kind="stable")

    def differences() -> Any:
        rows = of_question()
        return rows["value"].mean() - mean_by(rows, ["location"])

    def state_difference() -> Any:
        rows = of_question()
        return rows["value"].mean() - rows.loc[rows["location"] == STATE, "value"].mean()

    def listed(series: Any) -> list[tuple[Any, ...]]:
        keys = series.index.tolist()
        keys = keys if isinstance(keys[0], tuple) else [(key,) for key in keys]
        return [(*key, value) for key, value in zip(keys, series.tolist(), strict=True)]

    return {
        "states_mean": lambda: listed(means()),
        "state_mean": lambda: of_state()["value"].mean(),
        "best5": lambda: listed(means().head(5)),
        "worst5": lambda: listed(means().iloc[::-1].head(5)),
        "global_mean": lambda: of_question()["value"].mean(),
        "diff_from_mean": lambda: listed(differences()),
        "state_diff_from_mean": state_difference,
        "mean_by_category": lambda: listed(mean_by(of_question(), _GROUPS)),
        "state_mean_by_category": lambda: listed(mean_by(of_state(), _GROUPS[1:])),
    }


ENGINES: dict[str, Callable[[Table], Queries]] = {
    "polars": by_polars,
    "DuckDB": by_duckdb,
    "pandas": by_pandas,
}
