"""The publisher's tables, for tests that compare statistics on real figures."""

import os
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from server.loader import load_region
from server.shared_data import attach_table
from server.table import MISSING, NO_YEAR, Table
from tests.support.servers import ROOT

REAL = ("cdc_brfss_2011_2021.csv.gz", "cdc_brfss_2011_2023.csv.gz")


def real_table(name: str) -> Table:
    """One of `REAL`, loaded once; skips the test where their folder is not given."""
    folder = os.environ.get("SPORTIV_TEST_DATA")
    if not folder:
        pytest.skip("SPORTIV_TEST_DATA does not name a folder with the real CDC tables")
    return loaded_table(Path(folder) / name)


@cache
def loaded_table(path: Path) -> Table:
    """The table of a file of the CDC's format, loaded once."""
    with load_region(path, ROOT / "data" / "cdc_brfss.toml") as region:
        return attach_table(region.fd)


def frame_of(table: Table, question: str) -> pd.DataFrame:
    """The rows of a question, with names for codes and None for what a row does not have."""
    rows = table.question == table.names.question.index(question)
    names = table.names
    return pd.DataFrame(
        {
            "state": [names.location[code] for code in table.location[rows]],
            "category": [
                None if code == MISSING else names.category[code] for code in table.category[rows]
            ],
            "stratum": [
                None if code == MISSING else names.stratum[code] for code in table.stratum[rows]
            ],
            "year": [None if year == NO_YEAR else int(year) for year in table.year[rows]],
            "value": table.value[rows],
        }
    )
