"""A Parquet file gives the table of the CSV file with the same cells, or is refused by name."""

import gzip
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.dataset import Description
from server.errors import DataError
from server.ingest import read_table
from tests.test_ingest import (
    CDC,
    DATA_ROWS,
    DESCRIBED,
    HEADER,
    cdc_table,
    described,
    rows_of,
    same,
    scratch,
    write_rows,
    written,
)

__all__ = ["cdc_table", "scratch"]  # fixtures

PLAIN: dict[str, Any] = {
    "place": ["Alley", "Alley", "Bridge"],
    "kind": ["noise", "noise", "noise"],
    "level": [1.5, None, 2.0],
    "by": ["time", "time", None],
    "part": ["day", "night", None],
    "year": [2011, 2012, None],
    "n": [3, None, 4],
}
AS_CSV = f"{HEADER}\nAlley,noise,1.5,time,day,2011,3\nAlley,noise,,time,night,2012,\n"
AS_CSV += "Bridge,noise,2.0,,,,4\n"


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> Description:
    return described(tmp_path_factory.mktemp("description"), DESCRIBED)


@pytest.fixture
def file_of(tmp_path: Path) -> Callable[..., Path]:
    """`file_of(column=values)` is a Parquet file of the plain columns, but for these."""

    def write(**columns: Any) -> Path:
        path = tmp_path / "table.parquet"
        pl.DataFrame(PLAIN | columns, strict=False).write_parquet(path)
        return path

    return write


# -- the same table -------------------------------------------------------------------

TEXT = pl.String
AS_OTHER_TYPES: dict[str, dict[str, pl.Series]] = {
    "as they are": {},
    "numbers as texts": {
        name: pl.Series(PLAIN[name]).cast(TEXT) for name in ("level", "year", "n")
    },
    "texts as categories": {
        name: pl.Series(PLAIN[name]).cast(pl.Categorical) for name in ("place", "kind", "by")
    },
    "texts of a fixed choice": {"kind": pl.Series(PLAIN["kind"]).cast(pl.Enum(["x", "noise"]))},
    "numbers as categories": {"level": pl.Series(["1.5", None, "2.00"]).cast(pl.Categorical)},
    "narrow numbers": {
        "level": pl.Series(PLAIN["level"], dtype=pl.Float32),
        "year": pl.Series(PLAIN["year"], dtype=pl.Int16),
        "n": pl.Series(PLAIN["n"], dtype=pl.UInt8),
    },
    "decimals": {
        "level": pl.Series([Decimal("1.50"), None, Decimal("2.00")], dtype=pl.Decimal(10, 2)),
        "n": pl.Series([Decimal(3), None, Decimal(4)], dtype=pl.Decimal(38, 0)),
    },
    "years with a fraction of nothing": {"year": pl.Series([2011.0, 2012.0, None])},
    "not a number for what is missing": {
        "level": pl.Series([1.5, float("nan"), 2.0]),
        "year": pl.Series([2011.0, 2012.0, float("nan")]),
        "n": pl.Series([3.0, float("nan"), 4.0]),
    },
    "texts for what is missing": {
        "level": pl.Series(["1.5", "NA", " 2 "]),
        "by": pl.Series(["time", "time", " "]),
        "part": pl.Series(["day", "night", ""]),
        "year": pl.Series(["2011", "2012", "N/A"]),
    },
    "further columns of any kind": {
        "lists": pl.Series([[1], [2], None]),
        "days": pl.Series([date(2011, 1, 1), None, None]),
    },
}


@pytest.mark.parametrize("columns", AS_OTHER_TYPES.values(), ids=AS_OTHER_TYPES)
def test_the_type_of_a_column_makes_no_difference(
    tmp_path: Path,
    description: Description,
    file_of: Callable[..., Path],
    columns: dict[str, pl.Series],
) -> None:
    expected = read_table(written(tmp_path / "table.csv", AS_CSV), description)
    assert same(read_table(file_of(**columns), description), expected)


@settings(max_examples=60)
@given(rows=DATA_ROWS)
def test_the_same_cells_give_the_same_table_to_the_bit(
    scratch: Path, description: Description, rows: list[tuple[str, ...]]
) -> None:
    write_rows(scratch, rows)
    expected = read_table(scratch, description)
    parquet = scratch.with_suffix(".parquet")
    cells = pl.DataFrame(rows, dict.fromkeys(HEADER.split(","), TEXT), orient="row")
    cells.write_parquet(parquet)
    assert same(read_table(parquet, description), expected)
    numbers = [pl.col("level", "n").replace("", None).cast(pl.Float64)]
    numbers += [pl.col("year").replace("", None).cast(pl.Int32)]
    cells.with_columns(*numbers).write_parquet(parquet)
    assert same(read_table(parquet, description), expected)


@pytest.mark.parametrize("writer", ["polars, texts", "polars, numbers", "row groups"])
def test_the_cdc_tables_converted_are_the_same_tables(
    cdc_table: Path, tmp_path: Path, writer: str
) -> None:
    path = tmp_path / "table.parquet"
    as_texts = writer.endswith("texts")
    frame = pl.read_csv(cdc_table, infer_schema=not as_texts, infer_schema_length=None)
    frame.write_parquet(path, row_group_size=1000 if writer == "row groups" else None)
    assert same(read_table(path, CDC), read_table(cdc_table, CDC))


def test_what_pandas_writes_is_read(tmp_path: Path, description: Description) -> None:
    pytest.importorskip("pyarrow")
    expected = read_table(written(tmp_path / "table.csv", AS_CSV), description)
    frame = pd.read_csv(tmp_path / "table.csv", index_col="place", dtype={"by": "category"})
    frame.to_parquet(tmp_path / "table.parquet")
    assert same(read_table(tmp_path / "table.parquet", description), expected)


def test_a_file_is_known_by_its_content_not_by_its_name(
    description: Description, file_of: Callable[..., Path]
) -> None:
    path = file_of()
    expected = read_table(path, description)
    assert same(read_table(path.rename(path.with_name("t[1]*.csv")), description), expected)


def test_large_whole_numbers_are_rounded_as_their_texts_are(
    tmp_path: Path, description: Description, file_of: Callable[..., Path]
) -> None:
    large = [2**53 + 1, 2**62 + 3, -(2**60) - 1]
    table = read_table(file_of(level=large), description)
    assert sorted(table.value) == sorted(map(float, map(str, large)))


def test_a_newer_name_and_spaces_around_names_are_taken(
    tmp_path: Path, description: Description
) -> None:
    frame = pl.DataFrame(PLAIN).rename({"level": "decibel", "place": " place "})
    frame.write_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", description).value.tolist() == [1.5, 2.0]


def test_negative_zero_is_zero(description: Description, file_of: Callable[..., Path]) -> None:
    table = read_table(file_of(level=[-0.0, None, 0.1234567]), description)
    assert not np.signbit(table.value).any()


def test_a_column_without_a_single_cell_is_missing(
    description: Description, file_of: Callable[..., Path]
) -> None:
    table = read_table(file_of(by=[None] * 3, year=[None] * 3), description)
    assert [row[2:5] for row in rows_of(table)] == [(None, None, None)] * 2


# -- what is refused ------------------------------------------------------------------

INFINITE = float("inf")
REFUSED: dict[str, tuple[dict[str, Any], int | None, str, str]] = {
    "text for a value": (
        {"level": ["1", "2", "loud"]},
        3,
        "level",
        "'loud' is not a finite number",
    ),
    "an infinite value": (
        {"level": [1.0, INFINITE, 2]},
        2,
        "level",
        "'inf' is not a finite number",
    ),
    "an infinite weight": ({"n": [1.0, -INFINITE, 2]}, 2, "n", "'-inf' is not a finite number"),
    "a negative weight": ({"n": [1, 2, -3]}, 3, "n", "'-3' is negative"),
    "part of a year": ({"year": [2011.0, 2011.5, None]}, 2, "year", "'2011.5' is not a year"),
    "an infinite year": ({"year": [2011.0, INFINITE, None]}, 2, "year", "'inf' is not a year"),
    "a year beyond four digits": ({"year": [20110, 1, 2]}, 1, "year", "'20110' is not a year"),
    "a value of no question": (
        {"kind": ["noise", "noise", None]},
        *(3, "kind", "a row with a value has no question"),
    ),
    "a value of no location": (
        {"place": [" ", "Alley", "Alley"]},
        *(1, "place", "a row with a value has no location"),
    ),
    "the first of several faults": (
        {"n": [1, -2, 3], "level": ["1", "2", "x"]},
        *(2, "n", "'-2' is negative"),
    ),
    "no row with a value": ({"level": [None] * 3}, None, "level", "no row has a value"),
    "numbers for names": (
        {"place": [1, 2, 3]},
        *(None, "place", "holds values of the type Int64, not texts"),
    ),
    "flags for values": (
        {"level": [True, False, None]},
        *(None, "level", "holds values of the type Boolean, not numbers"),
    ),
    "days for years": (
        {"year": [date(2011, 1, 1)] * 3},
        *(None, "year", "holds values of the type Date, not numbers"),
    ),
    "lists of texts": (
        {"kind": [["noise"]] * 3},
        *(None, "kind", "holds values of the type List(String), not texts"),
    ),
    "records of numbers": (
        {"level": [{"a": 1.0}] * 3},
        *(None, "level", "holds values of the type Struct({'a': Float64}), not numbers"),
    ),
    "bytes": (
        {"kind": [b"noise"] * 3},
        *(None, "kind", "holds values of the type Binary, not texts"),
    ),
}


def refusal(path: Path, description: Description) -> str:
    with pytest.raises(DataError) as refused:
        read_table(path, description)
    return str(refused.value)


@pytest.mark.parametrize(("columns", "row", "column", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_file_is_refused_with_the_place_and_the_reason(
    description: Description,
    file_of: Callable[..., Path],
    columns: dict[str, Any],
    row: int | None,
    column: str,
    reason: str,
) -> None:
    path = file_of(**columns)
    expected = str(DataError(path, reason, row=row, column=column))
    assert refusal(path, description) == expected


def test_a_fault_is_found_anywhere(description: Description, file_of: Callable[..., Path]) -> None:
    rows = 250_000
    columns: dict[str, Any] = {name: [values[0]] * rows for name, values in PLAIN.items()}
    columns["n"][-2] = -1
    message = refusal(file_of(**columns), description)
    assert f"row {rows - 1}, column 'n': '-1' is negative" in message


def test_a_missing_column_is_named_with_what_there_is(
    tmp_path: Path, description: Description
) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame(PLAIN).drop("level").write_parquet(path)
    message = refusal(path, description)
    assert message.startswith(f"data file {path}: no column for the value: none is named 'level'")
    assert "'decibel'; there are 'place', 'kind', 'by'" in message


def test_a_needed_column_that_is_there_twice_is_refused(
    tmp_path: Path, description: Description
) -> None:
    pl.DataFrame(PLAIN | {" level": [1, 2, 3]}).write_parquet(tmp_path / "t.parquet")
    assert "stands more than once" in refusal(tmp_path / "t.parquet", description)


@pytest.mark.parametrize("end", [4, 11, 100, -100, -8, -4, -1])
def test_a_file_that_breaks_off_is_refused(
    description: Description, file_of: Callable[..., Path], end: int
) -> None:
    path = file_of()
    path.write_bytes(path.read_bytes()[:end])
    assert refusal(path, description).startswith(f"data file {path}: the Parquet data break off")


@pytest.mark.parametrize("content", [b"", b"PAR", b"a,b\n1,2\n", gzip.compress(b"PAR1", mtime=0)])
def test_what_only_has_the_name_of_a_parquet_file_is_refused(
    tmp_path: Path, description: Description, content: bytes
) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(content)
    reason = "is not a Parquet file" if content else "the file is empty"
    assert refusal(path, description).startswith(f"data file {path}: {reason}")


def test_a_damaged_footer_is_an_error_in_words(
    description: Description, file_of: Callable[..., Path]
) -> None:
    path = file_of()
    whole, rows, refused = path.read_bytes(), rows_of(read_table(path, description)), 0
    length = int.from_bytes(whole[-8:-4], "little")
    for at in range(len(whole) - 8 - length, len(whole) - 8, 5):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with suppress(DataError):  # any other error fails the test
            assert rows_of(read_table(path, description)) == rows
            continue
        refused += 1
    assert refused > 10


@settings(max_examples=40)
@given(content=st.binary(max_size=60))
def test_whatever_stands_between_the_magic_words_is_refused(
    scratch: Path, description: Description, content: bytes
) -> None:
    scratch.write_bytes(b"PAR1" + content + b"PAR1")
    assert "the Parquet data" in refusal(scratch, description)


def test_a_file_that_is_missing_is_refused_with_the_systems_reason(
    tmp_path: Path, description: Description
) -> None:
    missing = tmp_path / "missing.parquet"
    assert refusal(missing, description) == f"data file {missing}: No such file or directory"
