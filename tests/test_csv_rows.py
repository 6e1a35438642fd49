"""Rows are counted and cut apart as `csv` does it, or there is a doubt."""

import csv
import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server import csv_rows
from server.csv_rows import Block, row_blocks
from server.csv_text import Doubt, Layout

HEADER = "a,b,c"
FIELDS = st.text(st.sampled_from('ab ,"\n\u00e4\U0001f600'), max_size=12) | st.just("x\r\ny")
ROWS = st.lists(st.lists(FIELDS, min_size=3, max_size=3), max_size=60)
ODD = st.text(st.sampled_from('x,,,"\n\n\r'), max_size=40)

Read = Callable[[str | bytes], list[Block]]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    """`read(text)` are the blocks of a file with this below its header."""
    path = tmp_path_factory.mktemp("rows") / "data.csv"

    def read_rows(body: str | bytes) -> list[Block]:
        body = body if isinstance(body, bytes) else body.encode()
        path.write_bytes(HEADER.encode() + b"\n" + body)
        return list(row_blocks(layout(path)))

    return read_rows


@pytest.fixture(scope="module", params=[(64, 1 << 9), (1 << 8, 1 << 10), None])
def sizes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Blocks and pieces so small that rows lie across their edges, and the usual ones."""
    usual = csv_rows._BLOCK, csv_rows._PIECE
    csv_rows._BLOCK, csv_rows._PIECE = request.param or usual
    yield
    csv_rows._BLOCK, csv_rows._PIECE = usual


def layout(path: Path) -> Layout:
    return Layout(path, tuple(HEADER.split(",")), 1, {})


def written(rows: list[list[str]], end: str) -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator=end).writerows(rows)
    return stream.getvalue()


@pytest.mark.usefixtures("sizes")
@settings(deadline=None)
@given(rows=ROWS, end=st.sampled_from(["\n", "\r\n"]), last=st.booleans())
def test_no_byte_and_no_row_is_lost(
    read: Read, rows: list[list[str]], end: str, last: bool
) -> None:
    text = written(rows, end).removesuffix("" if last else end)
    blocks = read(text)
    whole = text if text.endswith("\n") or not text else f"{text}\n"
    assert b"".join(block.text for block in blocks) == whole.encode()
    assert sum(block.rows for block in blocks) == len(rows)


@pytest.mark.usefixtures("sizes")
@settings(deadline=None)
@given(before=ROWS, fields=st.integers(1, 6).filter(lambda fields: fields != 3), after=ROWS)
def test_a_torn_row_is_never_let_pass(
    read: Read, before: list[list[str]], fields: int, after: list[list[str]]
) -> None:
    with pytest.raises(Doubt):
        read(written([*before, ["x"] * fields, *after], "\n"))


@pytest.mark.usefixtures("sizes")
@settings(deadline=None, max_examples=500)
@given(text=ODD)
def test_what_is_let_pass_has_the_rows_that_csv_finds(read: Read, text: str) -> None:
    try:
        blocks = read(text)
    except Doubt:
        return
    found = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert {len(row) for row in found if row} <= {3}
    assert sum(block.rows for block in blocks) == len(found)


DOUBTFUL = {
    "a row that is too short": "x,x\n",
    "a row that is too long": "x,x,x,\n",
    "a long row after a short one": "x,x\nx,x,x,x\n",
    "a line of a space": " \n",
    "a quote amid a text": 'x,6" by 4",x\n',
    "text after a closing quote": 'x,"x"y,x\n',
    "a quote that is never closed": 'x,x,"x\n',
    "a carriage return amid a line": "x,x\rx,x\n",
    "a row longer than a piece": f"x,x,{'x' * csv_rows._PIECE}\n",
}


@pytest.mark.parametrize("at", [0, 1, 20_000, 200_000])
@pytest.mark.parametrize("odd", DOUBTFUL.values(), ids=DOUBTFUL)
def test_what_is_not_in_order_is_in_doubt_wherever_it_stands(read: Read, odd: str, at: int) -> None:
    with pytest.raises(Doubt):
        read("x,x,x\n" * at + odd + "x,x,x\n" * 2)


@pytest.mark.parametrize("text", ["", "x" * 70], ids=["short rows", "long rows"])
def test_rows_that_begin_with_a_quote_are_in_no_doubt_wherever_they_stand(
    read: Read, text: str
) -> None:
    blocks = read(f'"{text}",x,x\n' * 300_000)
    assert sum(block.rows for block in blocks) == 300_000


@pytest.mark.parametrize("at", [0, 100_000])
def test_bytes_that_are_no_utf_8_are_found(read: Read, at: int) -> None:
    with pytest.raises(UnicodeDecodeError):
        read(b"x,x,x\n" * at + b"x,\xdf,x\n")


def test_blank_lines_are_counted_and_are_in_no_doubt(read: Read) -> None:
    (block,) = read('\n\r\nx,x,x\n\n\nx,"\n\n",x\r\n\r\n')
    assert block.rows == 7


def test_a_packed_file_has_the_same_blocks(tmp_path: Path) -> None:
    text = f"{HEADER}\n".encode() + b"x,x,x\n" * 1000
    plain, packed = tmp_path / "plain.csv", tmp_path / "packed.csv"
    plain.write_bytes(text)
    packed.write_bytes(gzip.compress(text))
    assert list(row_blocks(layout(plain))) == list(row_blocks(layout(packed)))
