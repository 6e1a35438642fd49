"""Loads a table once, in a process of its own: `python -m benchmarks.table_loaders NAME CSV`.

Prints one JSON object: the seconds from before the library is imported until the columns are
in memory, and the peak of the memory in bytes. All read the same seven columns, texts as
codes where the library has them. Ours also sorts the rows and builds the sums; its memory is
that of the larger process and the region.
"""

import json
import logging
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

TEXTS = ("Question", "LocationDesc", "StratificationCategory1", "Stratification1")
NUMBERS = ("YearStart", "Data_Value", "Sample_Size")
COLUMNS = [*TEXTS, *NUMBERS]


def ours(path: Path, cache: Path | None = None) -> int:
    """The columns in a sealed region; its size."""
    from benchmarks.made_tables import DESCRIPTION
    from server.loader import load_region

    with load_region(path, DESCRIPTION, cache) as region:
        return region.size


def ours_cached(path: Path) -> int:
    """The same from the column cache, where `keep` has put it."""
    said: list[str] = []
    _listen(said.append)
    size = ours(path, _cache(path))
    assert any("come from the cache" in line for line in said), said
    return size


def keep(path: Path) -> int:
    """Put the columns into the cache, if they are not there, and wait until they are."""
    from benchmarks.made_tables import DESCRIPTION
    from server.loader import load_region

    kept = threading.Event()
    _listen(lambda line: kept.set() if "cache" in line or "next start" in line else None)
    with load_region(path, DESCRIPTION, _cache(path)) as region:
        assert kept.wait(600), "the columns are not kept"
        return region.size


def _cache(path: Path) -> Path:
    return path.with_suffix(".cache")


def _listen(take: Callable[[str], object]) -> None:
    handler = logging.Handler()
    handler.emit = lambda record: take(record.getMessage())  # type: ignore[method-assign, return-value, assignment]
    logger = logging.getLogger("sportiv.columns")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def by_pandas(path: Path) -> int:
    """A DataFrame with categories, by the parser written in C."""
    import pandas as pd

    dtypes = dict.fromkeys(TEXTS, "category") | dict.fromkeys(NUMBERS, "float64")
    frame = pd.read_csv(path, usecols=COLUMNS, dtype=dtypes)
    assert len(frame)
    return 0


def by_polars(path: Path) -> int:
    """A DataFrame with categories."""
    import polars as pl

    dtypes = dict.fromkeys(TEXTS, pl.Categorical) | dict.fromkeys(NUMBERS, pl.Float64)
    frame = pl.scan_csv(path, schema_overrides=dtypes).select(COLUMNS).collect()
    assert frame.height
    return 0


def by_duckdb(path: Path) -> int:
    """A table in memory."""
    import duckdb

    types = dict.fromkeys(TEXTS, "VARCHAR") | dict.fromkeys(NUMBERS, "DOUBLE")
    columns = ", ".join(COLUMNS)
    connection = duckdb.connect()
    connection.execute(
        f"CREATE TABLE t AS SELECT {columns} FROM read_csv(?, header = true, types = ?)",
        [str(path), types],
    )
    assert connection.execute("SELECT count(*) FROM t").fetchone() != (0,)
    return 0


def by_pyarrow(path: Path) -> int:
    """A Table with dictionaries."""
    import pyarrow as pa
    from pyarrow import csv

    types = dict.fromkeys(TEXTS, pa.dictionary(pa.int32(), pa.string()))
    types |= dict.fromkeys(NUMBERS, pa.float64())
    convert = csv.ConvertOptions(include_columns=COLUMNS, column_types=types)
    assert csv.read_csv(path, convert_options=convert).num_rows
    return 0


LOADERS: dict[str, Callable[[Path], int]] = {
    "this server": ours,
    "this server, from its cache": ours_cached,
    "polars": by_polars,
    "DuckDB": by_duckdb,
    "pyarrow": by_pyarrow,
    "pandas": by_pandas,
}


def main(name: str, path: Path) -> None:
    """Load, and print the figures."""
    loader = keep if name == "keep" else LOADERS[name]
    begun = time.perf_counter()
    region = loader(path)
    seconds = time.perf_counter() - begun
    peak = max(_own_peak(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
    print(json.dumps({"seconds": seconds, "memory": peak + region}))


def _own_peak() -> int:
    """In bytes, since this program began: `getrusage` also counts what had started it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError("the kernel does not say it")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
