"""The publisher's tables, for tests that compare statistics on real figures."""

import os
from functools import cache
from pathlib import Path

import pytest

from server.loader import load_region
from server.shared_data import attach_table
from server.table import Table
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
