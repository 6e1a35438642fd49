"""Tables of any length in the CDC's format, made once and kept in `benchmarks/.tables/`.

Each row is one of the sample's with a figure and a number of answers of its own: at first one
of each group, so that all tables have the same groups, then those that a seeded generator draws.
So the texts are as long as in the survey.
"""

import time
from pathlib import Path

import numpy as np

from server.column_source import SETTLED_SECONDS, Source
from server.settings import ROOT

FOLDER = Path(__file__).parent / ".tables"
SAMPLE = ROOT / "data" / "sample.csv.gz"
DESCRIPTION = ROOT / "data" / "cdc_brfss.toml"
_GROUP = ("Question", "LocationDesc", "StratificationCategory1", "Stratification1")
_SEED = 2011
_BATCH = 1_000_000


def made_table(rows: int) -> Path:
    """A CSV file with this many rows that have a value, old enough for its columns to be kept."""
    path = FOLDER / f"{rows}.csv"
    if not path.exists():
        FOLDER.mkdir(exist_ok=True)
        _write(path.with_suffix(".tmp"), rows)
        path.with_suffix(".tmp").rename(path)
    while not Source.of(path, DESCRIPTION).settled:
        time.sleep(SETTLED_SECONDS / 10)
    return path


def _write(path: Path, rows: int) -> None:
    import polars as pl

    sample = pl.read_csv(SAMPLE, infer_schema=False)
    groups = sample.with_row_index().unique(_GROUP, keep="first", maintain_order=True)["index"]
    random = np.random.default_rng(_SEED)
    with path.open("wb") as file:
        for begin in range(0, rows, _BATCH):
            many = min(_BATCH, rows - begin)
            places = random.integers(0, sample.height, many)
            if not begin:
                places[: len(groups)] = groups
            drawn = sample[places].with_columns(
                pl.Series("Data_Value", random.integers(50, 600, many) / 10),
                pl.Series("Sample_Size", random.integers(50, 5000, many)),
            )
            drawn.write_csv(file, include_header=begin == 0)
