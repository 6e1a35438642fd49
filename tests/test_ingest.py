"""A data file is read whole and as it is meant, or refused with the place and the reason."""

import csv
import gzip
import io
import math
import os
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server import csv_rows, csv_text
from server.dataset import Description, load_description
from server.errors import DataError
from server.ingest import read_table
from server.table import KEYS, MISSING, NO_YEAR, Table, group_tree

ROOT = Path(__file__).parents[1]
CDC = load_description(ROOT / "data" / "cdc_brfss.toml")
REAL_DATA = "SPORTIV_TEST_DATA"

HEADER = "place,kind,level,by,part,year,n"
DESCRIBED = """
title = "Made for a test"
[columns]
location = "place"
question = "kind"
value = ["level", "decibel"]
category = "by"
stratum = "part"
year = "year"
weight = "n"
[questions]
better_low = ["noise", "never asked"]
"""

GOOD = "Alley,noise,1.5,time,day,2011,3\n"
LONG = "x" * 1001
"""A field that is too long where `only_fast` is used: then a file with it cannot be read the
slow way."""

Row = tuple[str, str, str | None, str | None, int | None, float, float | None]


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> Description:
    return described(tmp_path_factory.mktemp("description"), DESCRIBED)


@pytest.fixture
def read(tmp_path: Path, description: Description) -> Callable[[str | bytes], Table]:
    """`read(text)` is the table of a file with this content."""

    def read_text(content: str | bytes) -> Table:
        return read_table(written(tmp_path / "data.csv", content), description)

    return read_text


@pytest.fixture
def only_fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No file with LONG in it can be read the slow way."""
    before = csv.field_size_limit()
    monkeypatch.setattr(csv_text, "LONGEST_FIELD", len(LONG) - 1)
    yield
    csv.field_size_limit(before)


def described(folder: Path, text: str) -> Description:
    path = folder / "description.toml"
    path.write_text(text, encoding="utf-8")
    return load_description(path)


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows_of(table: Table) -> list[Row]:
    """The rows in the table's order, with names for codes and None for what is missing."""
    names = table.names
    return [
        (
            names.question[table.question[n]],
            names.location[table.location[n]],
            None if table.category[n] == MISSING else names.category[table.category[n]],
            None if table.stratum[n] == MISSING else names.stratum[table.stratum[n]],
            None if table.year[n] == NO_YEAR else int(table.year[n]),
            float(table.value[n]),
            None if math.isnan(table.weight[n]) else float(table.weight[n]),
        )
        for n in range(table.rows)
    ]


def same(one: Table, other: Table) -> bool:
    """Equal to the bit."""
    arrays, others = one.arrays(), other.arrays()
    return (
        (one.fingerprint, one.names) == (other.fingerprint, other.names)
        and arrays.keys() == others.keys()
        and all(arrays[name].tobytes() == others[name].tobytes() for name in arrays)
    )


PLAIN: Row = ("noise", "Alley", "time", "day", 2011, 1.5, 3.0)

MEANT_THE_SAME = {
    "plain": f"{HEADER}\nAlley,noise,1.5,time,day,2011,3\n",
    "no newline at the end": f"{HEADER}\nAlley,noise,1.5,time,day,2011,3",
    "carriage returns": f"{HEADER}\r\nAlley,noise,1.5,time,day,2011,3\r\n",
    "a byte-order mark": f"\ufeff{HEADER}\nAlley,noise,1.5,time,day,2011,3\n",
    "a byte-order mark before a quote": (
        f'\ufeff"place"{HEADER[5:]}\nAlley,noise,1.5,time,day,2011,3\n'
    ),
    "spaces around the header's names": (
        " place,kind ,level, by ,part,year ,\tn \nAlley,noise,1.5,time,day,2011,3\n"
    ),
    "an index column without a name": f",{HEADER}\n0,Alley,noise,1.5,time,day,2011,3\n",
    "further columns, some of one name": (
        f"x,{HEADER},x,y\n1,Alley,noise,1.5,time,day,2011,3,2,\n"
    ),
    "columns in another order": (
        "n,year,part,by,level,kind,place\n3,2011,day,time,1.5,noise,Alley\n"
    ),
    "everything in quotes": (
        '"place","kind","level","by","part","year","n"\n'
        '"Alley","noise","1.5","time","day","2011","3"\n'
    ),
    "a header of two lines": f'{HEADER},"two\nlines"\nAlley,noise,1.5,time,day,2011,3,x\n',
    "blank lines at the end": f"{HEADER}\nAlley,noise,1.5,time,day,2011,3\n\n\r\n\n",
    "blank lines before and after the header": (
        f"\n\n{HEADER}\n\nAlley,noise,1.5,time,day,2011,3\n"
    ),
    "numbers with spaces": f"{HEADER}\nAlley,noise, 1.5 ,time,day, 2011\t,3 \n",
    "numbers written differently": f"{HEADER}\nAlley,noise,+15e-1,time,day,2011.0,3.\n",
    "rows without a value": (
        f"{HEADER}\nAlley,noise,,time,day,2011,3\nAlley,noise,1.5,time,day,2011,3\n"
        f"Alley,noise,NA,time,day,2011,3\nAlley,noise, ,time,day,,\n"
    ),
}


@pytest.mark.parametrize("text", MEANT_THE_SAME.values(), ids=MEANT_THE_SAME)
def test_a_file_is_read_as_it_is_meant(read: Callable[[str], Table], text: str) -> None:
    table = read(text)
    assert rows_of(table) == [PLAIN]
    assert same(table, read(MEANT_THE_SAME["plain"]))


@pytest.mark.parametrize("word", ["", " ", "NA", "N/A", "NaN", "nan", "null", "NULL", " NA "])
def test_a_number_can_be_missing_under_many_names(read: Callable[[str], Table], word: str) -> None:
    table = read(f"{HEADER}\nA,q,{word},,,2011,3\nA,q,1.5,,,{word},{word}\n")
    assert rows_of(table) == [("q", "A", None, None, None, 1.5, None)]


def test_thousands_separators_are_no_part_of_a_number(read: Callable[[str], Table]) -> None:
    table = read(f'{HEADER}\nA,q,"1,234.5",,,2011,"12,345,678"\nA,q,"-1,000",,,2012,999\n')
    assert table.value.tolist() == [1234.5, -1000.0]
    assert table.weight.tolist() == [12345678.0, 999.0]


def test_text_is_kept_exactly(read: Callable[[str], Table]) -> None:
    """Spaces, case, commas, quotes, line ends and letters of any alphabet stay as they are."""
    table = read(
        f'{HEADER}\n" A,B ",q,1,by,"a ""b"" c",2011,1\na,"two\r\nlines",2,By, x,2011,1\n'
        "Curaçao,質問,3,by,x,2011,1\n"
    )
    assert table.names.location == (" A,B ", "Curaçao", "a")
    assert table.names.question == ("q", "two\r\nlines", "質問")
    assert table.names.category == ("By", "by")
    assert table.names.stratum == (" x", 'a "b" c', "x")


def test_a_row_without_category_or_stratum_has_neither_but_lends_its_names(
    read: Callable[[str], Table],
) -> None:
    table = read(f"{HEADER}\nA,q,1,sex,,2011,1\nA,q,2,,old,2011,1\nA,q,3,  , ,2011,1\n")
    assert [row[2:4] for row in rows_of(table)] == [(None, None)] * 3
    assert table.names.category == ("sex",)
    assert table.names.stratum == ("old",)


def test_rows_without_a_value_lend_their_names_and_need_not_have_them(
    read: Callable[[str], Table],
) -> None:
    table = read(f"{HEADER}\nA,q,1,sex,old,2011,1\nB,r,,age,young,2011,1\n,,,,,,\n")
    assert table.rows == 1
    assert table.names.location == ("A", "B")
    assert table.names.question == ("q", "r")
    assert table.names.category == ("age", "sex")


def test_every_row_counts_also_one_that_stands_there_twice(read: Callable[[str], Table]) -> None:
    assert read(f"{HEADER}\n" + "A,q,1,sex,old,2011,1\n" * 3).levels[0].counts.tolist() == [3]


def test_only_questions_of_the_table_are_better_low(read: Callable[[str], Table]) -> None:
    assert read(MEANT_THE_SAME["plain"]).names.better_low == {"noise"}


def test_the_first_accepted_name_in_the_header_is_taken(read: Callable[[str], Table]) -> None:
    old = read(f"{HEADER.replace('level', 'decibel')}\nA,q,1,sex,old,2011,1\n")
    both = read(f"decibel,{HEADER}\n7,A,q,1,sex,old,2011,1\n")
    assert old.value.tolist() == both.value.tolist() == [1.0]


def test_optional_columns_may_be_absent(tmp_path: Path) -> None:
    least = described(
        tmp_path, 'title="x"\n[columns]\nlocation="place"\nquestion="kind"\nvalue="level"'
    )
    table = read_table(written(tmp_path / "data.csv", "level,kind,place\n2,q,A\n1,q,A\n"), least)
    assert rows_of(table) == [
        ("q", "A", None, None, None, 1.0, None),
        ("q", "A", None, None, None, 2.0, None),
    ]
    assert table.names.category == table.names.stratum == ()


def test_rows_are_sorted_by_the_keys_then_by_value_and_weight(
    read: Callable[[str], Table],
) -> None:
    lines = [
        *("A,p,5,,,2011,1", "A,q,4,,,,1", "A,q,3,,,2010,1", "A,q,9,b,a,2010,1"),
        *("A,q,2,b,b,2010,1", "A,q,-7.25,b,b,2011,1", "A,q,1,b,b,2011,2", "A,q,1,b,b,2011,10"),
        *("B,q,0,b,b,2011,1", "B,q,0,b,b,-5,1"),
    ]
    order = [
        (row[0], row[1], row[4], row[5], row[6])
        for row in rows_of(read("\n".join([HEADER, *lines])))
    ]
    assert order == [
        ("p", "A", 2011, 5.0, 1.0),
        ("q", "A", None, 4.0, 1.0),
        ("q", "A", 2010, 3.0, 1.0),
        ("q", "A", 2010, 9.0, 1.0),
        ("q", "A", 2010, 2.0, 1.0),
        ("q", "A", 2011, -7.25, 1.0),
        ("q", "A", 2011, 1.0, 2.0),
        ("q", "A", 2011, 1.0, 10.0),
        ("q", "B", -5, 0.0, 1.0),
        ("q", "B", 2011, 0.0, 1.0),
    ]


@pytest.mark.parametrize("other", ["1", "0.1", "0.12345", "1e18", "1e300", "9007199254740993"])
def test_negative_zero_is_zero(read: Callable[[str], Table], other: str) -> None:
    lines = [f"A,q,{level},,,,{n}\n" for level, n in [("-0.0", 2), ("0", 1), (other, 3), ("-0", 4)]]
    table = read(f"{HEADER}\n{''.join(lines)}")
    assert table.weight.tolist() == [1.0, 2.0, 4.0, 3.0]
    assert not np.signbit(table.value).any()
    assert same(table, read(f"{HEADER}\n{''.join(lines[::-1])}"))


def test_columns_have_their_types_and_lie_in_one_piece(read: Callable[[str], Table]) -> None:
    table = read(MEANT_THE_SAME["plain"])
    for name in KEYS:
        assert getattr(table, name).dtype == np.int32
    assert table.value.dtype == table.weight.dtype == np.float64
    assert all(array.flags.c_contiguous for array in table.arrays().values())


def test_a_gzipped_file_is_known_by_its_content_not_by_its_name(
    tmp_path: Path, description: Description
) -> None:
    text = f"{HEADER},note\n{GOOD.strip()},{LONG}\n".encode()
    half = len(text) // 2
    plain = read_table(written(tmp_path / "plain.csv.gz", text), description)
    packed = read_table(written(tmp_path / "packed.csv", gzip.compress(text)), description)
    parts = gzip.compress(text[:half]) + gzip.compress(text[half:])
    joined = read_table(written(tmp_path / "joined[1].csv", parts), description)
    assert same(plain, packed)
    assert same(plain, joined)


def test_the_fingerprint_follows_the_content(
    read: Callable[[str], Table], tmp_path: Path, description: Description
) -> None:
    texts = [
        f"{HEADER}\nA,noise,1,sex,old,2011,1\n",
        f"{HEADER}\nA,noise,2,sex,old,2011,1\n",
        f"{HEADER}\nA,noise,1,sex,old,2012,1\n",
        f"{HEADER}\nA,noise,1,sex,old,2011,2\n",
        f"{HEADER}\nA,noise,1,sex,old,2011,\n",
        f"{HEADER}\nB,noise,1,sex,old,2011,1\n",
        f"{HEADER}\nA,noise,1,sex,old,2011,1\nB,noise,,,,,\n",
    ]
    prints = [read(text).fingerprint for text in texts]
    other = described(tmp_path, DESCRIBED.replace('"noise", ', ""))
    prints.append(read_table(written(tmp_path / "data.csv", texts[0]), other).fingerprint)
    assert len(set(prints)) == len(prints)
    assert all(len(bytes.fromhex(text)) == 16 for text in prints)
    assert read(f"x,{HEADER}\n1,A,noise,1.0,sex,old,2011,1\n").fingerprint == prints[0]


# Against a plain computation

NUMBERS = st.one_of(
    st.integers(-50, 50).map(str),
    st.integers(-999, 999).map(lambda number: repr(number / 10)),
    st.integers(-99999, 99999).map(lambda number: f"{number / 1000:.3f}"),
    st.floats(-1e6, 1e6).map(repr),
    st.sampled_from(["0.0", "-0.0", "1e15", "9007199254740993", "0.1"]),
)
WEIGHTS = st.one_of(st.just(""), st.integers(0, 10**6).map(str), st.floats(0, 1e9).map(repr))
NAMES = st.sampled_from(["a", "b", "B", "ä", "a b", "c, d", 'e"f', "g\nh"])
DATA_ROWS = st.lists(
    st.tuples(
        NAMES,
        NAMES,
        st.just("") | NUMBERS,
        st.just("") | NAMES,
        st.just("") | NAMES,
        st.just("") | st.integers(-9999, 9999).map(str),
        WEIGHTS,
    ),
    max_size=25,
).filter(lambda rows: any(row[2] for row in rows))


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "data.csv"


def write_rows(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([HEADER.split(","), *rows])


Means = dict[tuple[Any, ...], float]


def tree_means(table: Table) -> list[Means]:
    """Per level, the mean below each node, under the texts of the node's key, "" for none."""
    means: list[Means] = [{} for _ in KEYS]
    vocabularies = [getattr(table.names, key) for key in KEYS[:-1]]

    def name(depth: int, code: int) -> Any:
        if depth == len(vocabularies):
            return "" if code == NO_YEAR else code
        return "" if code == MISSING else vocabularies[depth][code]

    def visit(depth: int, nodes: range, prefix: tuple[Any, ...]) -> None:
        level = table.levels[depth]
        for node in nodes:
            key = (*prefix, name(depth, int(level.codes[node])))
            means[depth][key] = level.sums[node] / level.counts[node]
            if depth + 1 < len(KEYS):
                children = level.children(node)
                visit(depth + 1, range(children.start, children.stop), key)

    visit(0, range(len(table.levels[0].codes)), ())
    return means


def pandas_means(path: Path, columns: Sequence[str], value: str) -> list[Means]:
    """The same by pandas; `columns` are those of the keys."""
    texts = dict.fromkeys(columns[:-1], str)
    frame = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=[""], low_memory=False)
    frame = frame[frame[value].notna()].reset_index(drop=True)
    *_, category, stratum, year = columns
    undivided = frame[category].isna() | frame[stratum].isna()
    keys = frame[list(columns)].astype(object)
    keys[year] = ["" if math.isnan(number) else int(number) for number in frame[year]]
    keys.loc[undivided, [category, stratum]] = ""
    return [
        dict(frame[value].groupby([keys[column] for column in columns[:depth]]).mean())
        if depth > 1
        else {(key,): mean for key, mean in frame[value].groupby(keys[columns[0]]).mean().items()}
        for depth in range(1, len(columns) + 1)
    ]


def assert_same_means(table: Table, expected: Sequence[Means]) -> None:
    for found, means in zip(tree_means(table), expected, strict=True):
        assert found.keys() == means.keys()
        assert [found[key] for key in means] == pytest.approx(list(means.values()), 1e-9, 1e-6)


@settings(max_examples=60)
@given(rows=DATA_ROWS)
def test_means_at_each_level_are_those_of_pandas(
    scratch: Path, description: Description, rows: list[tuple[str, ...]]
) -> None:
    write_rows(scratch, rows)
    expected = pandas_means(scratch, ["kind", "place", "by", "part", "year"], "level")
    assert_same_means(read_table(scratch, description), expected)


@settings(max_examples=60)
@given(rows=DATA_ROWS, data=st.data())
def test_the_order_of_the_rows_makes_no_difference(
    scratch: Path, description: Description, rows: list[tuple[str, ...]], data: st.DataObject
) -> None:
    write_rows(scratch, rows)
    table = read_table(scratch, description)
    write_rows(scratch, data.draw(st.permutations(rows)))
    assert same(table, read_table(scratch, description))


@settings(max_examples=60)
@given(rows=DATA_ROWS)
def test_rows_come_out_as_they_went_in(
    scratch: Path, description: Description, rows: list[tuple[str, ...]]
) -> None:
    write_rows(scratch, rows)
    table = read_table(scratch, description)
    expected = [
        (kind, place, by if part else "", part if by else "", year, float(level) + 0.0, n)
        for place, kind, level, by, part, year, n in rows
        if level
    ]
    found = [
        (kind, place, by or "", part or "", "" if year is None else str(year), level, n)
        for kind, place, by, part, year, level, n in rows_of(table)
    ]
    parsed = [(*row[:6], float(row[6]) if row[6] else None) for row in expected]
    assert sorted(found, key=repr) == sorted(parsed, key=repr)
    keys = [getattr(table, key) for key in KEYS]
    order = np.lexsort([np.nan_to_num(table.weight, nan=-1.0), table.value, *reversed(keys)])
    assert order.tolist() == list(range(table.rows))
    for level, again in zip(table.levels, group_tree(keys, table.value), strict=True):
        assert level.sums.tobytes() == again.sums.tobytes()


FIELDS = st.sampled_from(["a", "b c", "", "1", '"b"', '"c,d"', '"e\nf"', '""', '"g""h"'])
PATCHES = st.sampled_from(
    [
        "",
        "a",
        ",",
        ",,",
        '"',
        '""',
        '"a"',
        '"a,b"',
        "\n",
        "\n\n",
        "\r\n",
        "\r",
        "é",
        " ",
        "\na,b,c\n",
    ]
)


@settings(max_examples=300)
@given(
    lines=st.lists(st.lists(FIELDS, min_size=4, max_size=4), min_size=1, max_size=6),
    patches=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4), PATCHES), max_size=2),
)
def test_a_file_is_refused_exactly_where_csv_has_other_rows(
    scratch: Path,
    loose: Description,
    lines: list[list[str]],
    patches: list[tuple[float, int, str]],
) -> None:
    """A regular file, then patched anywhere: the strict csv module has the last word on it."""
    text = "".join(f"{','.join(fields)},1\n" for fields in lines)
    for place, cut, patch in patches:
        at = int(place * len(text))
        text = text[:at] + patch + text[at + cut :]
    expected = plain_rows(f"kind,x,place,y,level\n{text}")
    path = written(scratch, f"kind,x,place,y,level\n{text}")
    if expected is None:
        with pytest.raises(DataError):
            read_table(path, loose)
    else:
        assert sorted((*row[:2], row[5]) for row in rows_of(read_table(path, loose))) == expected


@pytest.fixture(scope="module")
def loose(tmp_path_factory: pytest.TempPathFactory) -> Description:
    """Only the three columns that must be: half of a file of five columns is not read."""
    text = 'title="x"\n[columns]\nlocation="place"\nquestion="kind"\nvalue="level"'
    return described(tmp_path_factory.mktemp("loose"), text)


def plain_rows(text: str) -> list[tuple[str, str, float]] | None:
    """Question, location and value of the rows that have one; None where a row is not right."""
    try:
        _, *rows = filter(None, csv.reader(io.StringIO(text, newline="\n"), strict=True))
        found = [(row[0], row[2], row[4].strip()) for row in rows if len(row) == 5]
        valued = [(kind, place, float(level)) for kind, place, level in found if level]
    except (csv.Error, ValueError):
        return None
    named = all(kind.strip() and place.strip() for kind, place, _ in valued)
    return sorted(valued) if valued and named and len(found) == len(rows) else None


# Two ways to read


@pytest.mark.usefixtures("only_fast")
@pytest.mark.parametrize("end", ["\n", "", "\n\n", "\n\r\n\n"])
def test_a_regular_file_never_needs_the_slow_way(read: Callable[[str], Table], end: str) -> None:
    body = f'A,q,"1,234",sex,"old\n\n",2011,1,{LONG},\n\nB,q,,,,,NA,"a ""b""\n","c"{end}'
    assert read(f"{HEADER},note,end\n{body}").rows == 1


def test_a_quote_amid_a_text_means_itself(read: Callable[[str], Table]) -> None:
    table = read(f'{HEADER}\n6" pipe,q,1,by,x,2011,1\n5" by 4" pipe,q,2,by,x,2011,1\nA,q,,,,,\n')
    assert table.names.location == ('5" by 4" pipe', '6" pipe', "A")
    assert table.value.tolist() == [2.0, 1.0]


@pytest.mark.usefixtures("only_fast")
@pytest.mark.parametrize("note", ["x", LONG], ids=["either way", "the fast way"])
def test_a_table_larger_than_what_is_read_at_a_time_is_read_whole(
    read: Callable[[str], Table], note: str
) -> None:
    lines = [f'"{n} , ä\n\n{n}",q,{n},by,"a ""b""",2011,1,{note}\n' for n in range(3)]
    lines += [f'"{n} , ä\n\n{n}",q,{n},by,"a ""b""",2011,1,\n' for n in range(3, 40_000)]
    table = read(f"{HEADER},note\n{''.join(lines)}\n")
    assert len("".join(lines)) > csv_rows._PIECE
    assert table.rows == len(table.names.location) == 40_000
    assert table.value.sum() == sum(range(40_000))


@pytest.mark.usefixtures("only_fast")
@pytest.mark.parametrize("size", [1 << 6, 1 << 12])
def test_a_file_of_many_blocks_is_the_same_table(
    read: Callable[[str], Table], monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    lines = [f'"{n % 7} , \n",q{n % 5},{n / 10},by,x,2011,{n},\n' for n in range(2_000)]
    lines[700] = f'A,q,"1,234.5",by,x,,NA,{LONG}\n'
    text = f"{HEADER},note\n{''.join(lines)}"
    whole = read(text)
    monkeypatch.setattr(csv_rows, "_BLOCK", size)
    assert same(read(text), whole)
    assert whole.rows == 2_000


@pytest.mark.usefixtures("only_fast")
@pytest.mark.parametrize("start", ["\ufeff", "x^", "x\x01", "\n", "\r\n\n", " "])
def test_what_stands_first_in_a_block_is_read_as_what_it_is(
    read: Callable[[str], Table], monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    monkeypatch.setattr(csv_rows, "_BLOCK", 1)
    table = read(f"{HEADER},note\n{start}A,q,1,,,,,\nA,q,2,,,,,{LONG}\n")
    assert sorted(table.names.location) == sorted({"A", start.strip("\r\n") + "A"})


def test_a_row_longer_than_what_is_read_at_a_time_is_read_and_checked(
    tmp_path: Path, description: Description
) -> None:
    notes = ",".join(["x" * 100_000] * 12)
    text = f"{HEADER},note{',' * 11}\nA,q,1,by,x,2011,1,{notes}\nA,q,2,by,x,2011,1,y{',' * 11}\n"
    path = written(tmp_path / "data.csv", text)
    assert read_table(path, description).value.tolist() == [1.0, 2.0]
    written(path, text.encode().replace(b",y,", b",\xff,"))
    assert refusal(path, description) == f"data file {path}, line 3: is not UTF-8: byte 0xff"


def test_a_field_may_be_longer_than_what_is_read_at_a_time(
    read: Callable[[str], Table],
) -> None:
    outline = ", ".join(["-88.1 41.9"] * 100_000)
    table = read(f'{HEADER},outline\nA,q,1,by,x,2011,1,"{outline}"\nB,q,2,by,x,2011,1,\n')
    assert len(outline) > 1 << 20
    assert table.value.tolist() == [1.0, 2.0]


def test_a_quote_that_is_never_closed_is_placed_however_much_follows_it(
    tmp_path: Path, description: Description
) -> None:
    opened = f'{HEADER}\n{GOOD}Alley,"noise,1,time,day,2011,3\n'
    path = written(tmp_path / "data.csv", opened + GOOD * 10_000)
    quote = "is not well-formed CSV: a quote is opened here and never closed"
    assert refusal(path, description) == f"data file {path}, line 3: {quote}"
    written(path, opened + GOOD * (csv_text.LONGEST_FIELD // len(GOOD) + 1))
    assert refusal(path, description) == (
        f"data file {path}, line 3: is not well-formed CSV: a field that begins here has more"
        " than 16,777,216 characters; is a quote never closed?"
    )


# What is refused

REFUSED: dict[str, tuple[str | bytes, int | None, str | None, str]] = {
    "an empty file": ("", None, None, "the file is empty"),
    "a file of blank lines": ("\n\r\n\n", None, None, "the file is empty"),
    "a header only": (HEADER, None, "level", "no row has a value"),
    "no row with a value": (
        f"{HEADER}\nAlley,noise,,time,day,2011,3\n",
        *(None, "level", "no row has a value"),
    ),
    "no column for a role": (
        GOOD,
        *(1, None, "no column for the location: none is named 'place'; there are 'Alley', 'noise'"),
    ),
    "no column under several names": (
        f"{HEADER.replace('level', 'Level')}\n{GOOD}",
        *(1, None, "no column for the value: none is named 'level', 'decibel'; there are 'place'"),
    ),
    "a needed column twice": (
        f"{HEADER},level\n",
        *(1, "level", "stands more than once in the header"),
    ),
    "text for a value": (
        f"{HEADER}\n{GOOD}Alley,noise,loud,time,day,2011,3\n",
        *(3, "level", "'loud' is not a finite number"),
    ),
    "a long text for a value": (
        f"{HEADER}\nAlley,noise,{'loud' * 99},time,day,2011,3\n",
        *(2, "level", "loudloudl...' is not a finite number"),
    ),
    "a value under another name of its column": (
        f"{HEADER.replace('level', ' decibel ')}\nAlley,noise,loud,time,day,2011,3\n",
        *(2, "decibel", "'loud' is not a finite number"),
    ),
    "a fault after texts of several lines": (
        f'{HEADER}\n"A\n\nB","c\nd",1,"\r\n",x,2011,1\n\n{GOOD}A,q,1.2.3,,,,\n',
        *(9, "level", "'1.2.3' is not a finite number"),
    ),
    "a fault before a worse one": (
        f'{HEADER}\nA,q,x,,,,\n\nA,"q',
        *(2, "level", "'x' is not a finite number"),
    ),
    "an infinite value": (
        f"{HEADER}\n{GOOD}Alley,noise,inf,time,day,2011,3\n",
        *(3, "level", "'inf' is not a finite number"),
    ),
    "a value beyond all floats": (
        f"{HEADER}\nAlley,noise,1e999,time,day,2011,3\n",
        *(2, "level", "'1e999' is not a finite number"),
    ),
    "another spelling of not a number": (
        f"{HEADER}\nAlley,noise,-nan,time,day,2011,3\n",
        *(2, "level", "'-nan' is not a finite number"),
    ),
    "misplaced thousands separators": (
        f'{HEADER}\nAlley,noise,"12,34.5",time,day,2011,3\n',
        *(2, "level", "'12,34.5' is not a finite number"),
    ),
    "digits of another alphabet": (
        f"{HEADER}\nAlley,noise,\u0661,time,day,2011,3\n",
        *(2, "level", "'\u0661' is not a finite number"),
    ),
    "an underscore in a value": (
        f"{HEADER}\nAlley,noise,1_000,time,day,2011,3\n",
        *(2, "level", "'1_000' is not a finite number"),
    ),
    "text for a weight": (
        f"{HEADER}\n{GOOD}Alley,noise,1,time,day,2011,many\n",
        *(3, "n", "'many' is not a finite number"),
    ),
    "a negative weight": (
        f"{HEADER}\n{GOOD}Alley,noise,1,time,day,2011,-1\n",
        *(3, "n", "'-1' is negative"),
    ),
    "a negative weight without a value": (
        f"{HEADER}\n{GOOD}Alley,noise,,time,day,2011,-1\n",
        *(3, "n", "'-1' is negative"),
    ),
    "text for a year": (
        f"{HEADER}\n{GOOD}Alley,noise,1,time,day,MMXI,1\n",
        *(3, "year", "'MMXI' is not a year"),
    ),
    "part of a year": (
        f"{HEADER}\nAlley,noise,1,time,day,2011.5,1\n",
        *(2, "year", "'2011.5' is not a year"),
    ),
    "a year beyond four digits": (
        f"{HEADER}\nAlley,noise,1,time,day,20111,1\n",
        *(2, "year", "'20111' is not a year"),
    ),
    "a year beyond all integers": (
        f"{HEADER}\nAlley,noise,1,time,day,{'2011' * 2000},1\n",
        *(2, "year", "...' is not a year"),
    ),
    "a value of no question": (
        f"{HEADER}\n{GOOD}Alley, ,1,time,day,2011,1\n",
        *(3, "kind", "a row with a value has no question"),
    ),
    "a value of no location": (
        f'{HEADER}\n{GOOD}"",noise,1,time,day,2011,1\n',
        *(3, "place", "a row with a value has no location"),
    ),
    "a row that is too short": (
        f"{HEADER}\n{GOOD}Alley,noise,1,time,day\n{GOOD}",
        *(3, None, "has 5 fields, the header has 7"),
    ),
    "a last row that is too short": (
        f"{HEADER}\n{GOOD}Alley,noise,1",
        *(3, None, "has 3 fields, the header has 7"),
    ),
    "a row that is too long": (
        f"{HEADER}\n{GOOD}Alley,noise,1,time,day,2011,1,\n{GOOD}",
        *(3, None, "has 8 fields, the header has 7"),
    ),
    "a last row that is too long by nothing": (
        "n,year,part,by,kind,place,level\n3,2011,,,noise,Alley,1\n3,2011,,,noise,Alley,,",
        *(3, None, "has 8 fields, the header has 7"),
    ),
    "a last row that is too long by nothing beside columns of no role": (
        f"note,{HEADER},end\nx,{GOOD.strip()},z\nx,{GOOD.strip()},,",
        *(3, None, "has 10 fields, the header has 9"),
    ),
    "a line of spaces": (f"{HEADER}\n{GOOD}  \n", 3, None, "has 1 fields, the header has 7"),
    "two lines in one": (
        f"{HEADER}\n{GOOD.strip()}{GOOD}",
        *(2, None, "has 13 fields, the header has 7"),
    ),
    "a quote that is never closed": (
        f'{HEADER}\n{GOOD}Alley,"noise,1,time,day,2011,3\n{GOOD}',
        *(3, None, "is not well-formed CSV: a quote is opened here and never closed"),
    ),
    "a quote that is opened at the very end": (
        f'{HEADER},note\n{GOOD.strip()},"""',
        *(2, None, "is not well-formed CSV: a quote is opened here and never closed"),
    ),
    "a carriage return amid a line": (
        f"note,{HEADER}\na\rb,{GOOD}",
        *(
            2,
            None,
            "is not well-formed CSV: a carriage return stands within a field without quotes",
        ),
    ),
    "text after a closing quote": (
        f'{HEADER}\n{GOOD}Alley,"noise"s,1,time,day,2011,3\n',
        *(3, None, "is not well-formed CSV: ',' expected after '\"'"),
    ),
    "lines that end in a carriage return only": (
        f"{HEADER}\r{GOOD}",
        *(
            1,
            None,
            "is not well-formed CSV: a carriage return stands within a field without quotes",
        ),
    ),
    "bytes that are not UTF-8": (
        f"{HEADER}\n{GOOD}Stra\xdfe,noise,1,time,day,2011,3\n".encode("latin-1"),
        *(3, None, "is not UTF-8: byte 0xdf"),
    ),
    "bytes that are not UTF-8 in a column of no role": (
        f"note,{HEADER}\nStra\xdfe,{GOOD}".encode("latin-1"),
        *(2, None, "is not UTF-8: byte 0xdf"),
    ),
    "a file in UTF-16": (f"{HEADER}\n{GOOD}".encode("utf-16"), 1, None, "is not UTF-8: byte 0xff"),
}


def refusal(path: Path, description: Description) -> str:
    with pytest.raises(DataError) as refused:
        read_table(path, description)
    return str(refused.value)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize(("content", "line", "column", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_file_is_refused_with_the_place_and_the_reason(
    tmp_path: Path,
    description: Description,
    content: str | bytes,
    line: int | None,
    column: str | None,
    reason: str,
    packed: bool,
) -> None:
    content = content if isinstance(content, bytes) else content.encode()
    path = written(tmp_path / "data.csv", gzip.compress(content) if packed else content)
    expected = str(DataError(path, reason, line=line, column=column))
    place, separator, _ = expected.rpartition(reason)
    message = refusal(path, description)
    assert separator == reason
    assert message.startswith(place)
    assert reason in message


def test_a_file_that_cannot_be_read_is_refused_with_the_systems_reason(
    tmp_path: Path, description: Description
) -> None:
    missing = tmp_path / "missing.csv"
    assert refusal(missing, description) == f"data file {missing}: No such file or directory"
    assert refusal(tmp_path, description) == f"data file {tmp_path}: Is a directory"


def test_of_a_header_of_thousands_of_columns_the_first_ones_are_told(
    tmp_path: Path, description: Description
) -> None:
    header = ",".join(f"column {n}" for n in range(3_000))
    message = refusal(written(tmp_path / "data.csv", f"{header}\n"), description)
    assert message.endswith("'column 98', 'column 99' and 2900 more")


class Unsteady(type(Path())):  # type: ignore[misc]
    """The path of a file that somebody changes whenever it is opened."""

    change: Callable[[Path], None]

    def open(self, *arguments: Any, **options: Any) -> Any:
        opened = super().open(*arguments, **options)
        self.change(Path(self))
        return opened


def grow(path: Path) -> None:
    with path.open("a") as file:
        file.write(GOOD)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4)


def replace(path: Path) -> None:
    """Put another table there, whose columns are in another order."""
    other = path.with_name("other.csv")
    other.write_text("n,place,kind,level,by,part,year\n3,Alley,noise,1.5,time,day,2011\n")
    other.replace(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (grow, "was changed while it was read"),
        (cut, "was changed while it was read"),
        (replace, "was changed while it was read"),
        (Path.unlink, "No such file or directory"),
    ],
)
def test_a_file_that_is_changed_while_it_is_read_is_refused(
    tmp_path: Path, description: Description, change: Callable[[Path], None], reason: str
) -> None:
    path = Unsteady(written(tmp_path / "data.csv", f"{HEADER}\n{GOOD}"))
    path.change = change
    assert refusal(path, description) == f"data file {path}: {reason}"


@pytest.mark.parametrize("end", [12, 100, -200, -9, -8, -4, -1])
def test_a_gzipped_file_that_breaks_off_is_refused(
    tmp_path: Path, description: Description, end: int
) -> None:
    lines = "".join(f"A{n},q,{n * 7919 % 997},by,x,2011,{n}\n" for n in range(2000))
    packed = gzip.compress(f"{HEADER}\n{lines}".encode())
    message = refusal(written(tmp_path / "data.csv.gz", packed[:end]), description)
    assert "line " in message
    assert "the gzip data are damaged: Compressed file ended before" in message


@pytest.mark.parametrize("place", [100, 3000, -6, -2])
def test_a_gzipped_file_with_a_wrong_byte_is_refused(
    tmp_path: Path, description: Description, place: int
) -> None:
    """-6 is in the checksum, -2 in the length; before them, anything may come out."""
    lines = "".join(f"A{n},q,{n * 7919 % 997},by,x,2011,{n}\n" for n in range(2000))
    packed = bytearray(gzip.compress(f"{HEADER}\n{lines}".encode()))
    packed[place] ^= 0x55
    message = refusal(written(tmp_path / "data.csv.gz", bytes(packed)), description)
    assert message.startswith(f"data file {tmp_path / 'data.csv.gz'}, line ")


TORN = {
    "too short": ["A,q,1,by"],
    "too short at the start": ["2011,1,x,y"],
    "too long": ["A,q,1,by,x,2011,1,x,,z"],
    "too short and too long by as much": ["A,q,1,by,x,2011,1,x", "A,q,1,by,x,2011,1,x,,"],
    "too long and too short by as much": ["A,q,1,by,x,2011,1,x,y,z", "A,q,1,by,x,2011,1,x"],
    "too long by a comma between stray quotes": ['A,q,1,by,x,2011,1,6" by 4,x",z'],
    "torn within quotes": ['A,q,1,by,x,2011,1,"x', 'A,q,1,by,x,2011,1,"x,y",'],
}


@pytest.mark.parametrize("at", [0, 1, 20_000, 39_999, 40_000])
@pytest.mark.parametrize("ends", ["full", "empty", "few empty"])
@pytest.mark.parametrize("torn", TORN.values(), ids=TORN)
def test_a_torn_row_is_found_anywhere(
    tmp_path: Path, description: Description, torn: list[str], ends: str, at: int
) -> None:
    """In a file with columns of no role, the last of which is there, is not, or mostly is."""
    step = {"full": 50_000, "empty": 1, "few empty": 5_000}[ends]
    lasts = ["z" if (n + 1) % step else "" for n in range(40_000)]
    lines = [f'A,q,{n},by,x,2011,1,"x,y",{last}' for n, last in enumerate(lasts)]
    lines[at:at] = torn
    path = written(tmp_path / "data.csv", "\n".join([f"{HEADER},note,end", *lines]))
    assert refusal(path, description).startswith(f"data file {path}, line {at + 2}: ")


# Other tables

NOISE = """
title = "Street noise"
source = "https://noise.example.org"
[columns]
location = "Strasse"
question = "Messgröße"
value = ["dB(A)", "dB"]
category = "Art"
stratum = "Tageszeit"
year = "Jahr"
[questions]
better_low = ["Mittelungspegel"]
"""

NOISE_TABLE = """\ufeff;,Jahr,dB(A),Messgröße,Bemerkung,Strasse,Tageszeit,Art
1,2019,61.25,Mittelungspegel,,Königstraße,nachts,Zeit
2,2019,70.75,Mittelungspegel,"Baustelle, laut",Königstraße,tags,Zeit
3,2020,58.00,Mittelungspegel,,Am Wall,nachts,Zeit
4,2020,,Mittelungspegel,defekt,Am Wall,tags,Zeit
5,2020,3.0,Ruhige Stunden,,Am Wall,,
"""


def test_another_kind_of_table_needs_only_a_description(tmp_path: Path) -> None:
    noise = described(tmp_path, NOISE)
    table = read_table(written(tmp_path / "noise.csv", NOISE_TABLE), noise)
    assert table.names.better_low == {"Mittelungspegel"}
    assert np.isnan(table.weight).all()
    questions, locations, _, strata, _ = tree_means(table)
    assert questions == {("Mittelungspegel",): 190 / 3, ("Ruhige Stunden",): 3.0}
    assert locations["Mittelungspegel", "Königstraße"] == 66.0
    assert strata == {
        ("Mittelungspegel", "Am Wall", "Zeit", "nachts"): 58.0,
        ("Mittelungspegel", "Königstraße", "Zeit", "nachts"): 61.25,
        ("Mittelungspegel", "Königstraße", "Zeit", "tags"): 70.75,
        ("Ruhige Stunden", "Am Wall", "", ""): 3.0,
    }


def cdc_tables() -> list[Path]:
    """The shipped sample and, where SPORTIV_TEST_DATA names their folder, the real tables."""
    folder = os.environ.get(REAL_DATA)
    return [
        ROOT / "data" / "sample.csv.gz",
        *(sorted(Path(folder).glob("cdc_brfss_*.csv.gz")) if folder else ()),
    ]


@pytest.fixture(params=["sample", "2011_2021", "2011_2023"])
def cdc_table(request: pytest.FixtureRequest) -> Path:
    found = [path for path in cdc_tables() if request.param in path.name]
    if not found:
        pytest.skip(f"{REAL_DATA} does not name a folder with the CDC table {request.param}")
    return found[0]


def test_means_of_the_cdc_tables_are_those_of_pandas(cdc_table: Path) -> None:
    keys = ("question", "location", "category", "stratum", "year")
    columns = [getattr(CDC.columns, key)[0] for key in keys]
    assert_same_means(read_table(cdc_table, CDC), pandas_means(cdc_table, columns, "Data_Value"))


def test_the_cdc_tables_shuffled_and_unpacked_are_the_same_tables(
    cdc_table: Path, tmp_path: Path
) -> None:
    header, *lines = gzip.decompress(cdc_table.read_bytes()).splitlines(keepends=True)
    random.Random(7).shuffle(lines)
    shuffled = written(tmp_path / "shuffled.csv", header + b"".join(lines))
    table = read_table(cdc_table, CDC)
    assert same(table, read_table(shuffled, CDC))
    assert len(table.names.better_low) == 5
