"""Whether all rows of a CSV file are whole, and mean the same to every reader.

The text is compared as a whole with each byte that matters, and 64 places become one number: a
mask has a bit for each quote, another for each comma, a third for each newline. Where the
quotes before a byte are odd in number it stands within some, so that the commas between fields
are told from those in a text, and counted up to each newline.
"""

import io
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from server.csv_text import Layout, opened, require

_NEWLINE, _RETURN, _QUOTE, _COMMA = b'\n\r",'
_BLOCK = 1 << 25  # bytes
_PIECE = 1 << 20  # bytes, so that a piece stays in a core's cache
_STEPS = [np.uint64(1 << step) for step in range(6)]
_ONE, _TOP = np.uint64(1), np.uint64(63)

_Bytes = npt.NDArray[np.uint8]
_Mask = npt.NDArray[np.uint64]


class Block(NamedTuple):
    """Some whole rows, and how many they are; lines that hold nothing count too."""

    text: bytes
    rows: int


def row_blocks(layout: Layout) -> Iterator[Block]:
    """The rows below the header, block by block.

    Doubt where one that is not blank has not as many fields as the header, where a carriage
    return ends no line, or where a quote is neither at the edge of a field nor doubled: only
    without such quotes do polars and csv.reader cut the text alike. A row longer than a piece
    is in doubt too. UnicodeDecodeError where the text is no UTF-8; OSError, EOFError or
    zlib.error where the file cannot be read.
    """
    rest = b""
    with opened(layout.path) as stream:
        for _ in range(layout.line):
            stream.readline()
        for lines in _whole_lines(stream):
            text = rest + lines if rest else lines
            block = _whole_rows(text, layout)
            rest = text[len(block.text) :]
            if block.rows:
                yield block
    require(not rest)


def _whole_lines(stream: io.BufferedIOBase) -> Iterator[bytes]:
    """What is left of the file, some lines at a time; where the last has no end, it gets one."""
    seekable = isinstance(stream, io.BufferedReader)  # gzip is too, but unpacks what lies between
    while lines := _read_ahead(stream) if seekable else stream.read(_BLOCK) + stream.readline():
        yield lines if lines[-1] == _NEWLINE else lines + b"\n"


def _read_ahead(stream: io.BufferedIOBase) -> bytes:
    """Lines read at once, as it was found out before where the last one ends."""
    begin = stream.tell()
    stream.seek(begin + _BLOCK)
    stream.readline()
    end = stream.tell()
    stream.seek(begin)
    return stream.read(end - begin)


def _whole_rows(text: bytes, layout: Layout) -> Block:
    """The rows that the text has from its start on, each of them whole."""
    codes, width = np.frombuffer(text, np.uint8), len(layout.header)
    has_returns = b"\r" in text
    rows = end = 0
    while end < len(text):
        size, found = _check_rows(codes[end : end + _PIECE], width, has_returns)
        if not size:
            require(len(text) - end < _PIECE)
            break
        end, rows = end + size, rows + found
    return Block(text if end == len(text) else text[:end], rows)


def _check_rows(codes: _Bytes, width: int, has_returns: bool) -> tuple[int, int]:
    """Where the last row ends that does so here, and how many do."""
    quotes, commas, newlines = (_mask(codes, code) for code in (_QUOTE, _COMMA, _NEWLINE))
    quoted = _parity(quotes)
    ends = newlines & ~quoted
    end = _behind_last(ends)
    if not end:
        return 0, 0
    inside = _first(len(ends), end)
    before = behind = commas | newlines | quotes
    if has_returns:
        returns = _mask(codes, _RETURN)
        require(not (returns & inside & ~_next(newlines)).any())
        behind = before | returns
    _check_quotes(quotes & inside, quoted, before, behind)
    if codes[:end].max() >= 0x80:
        codes[:end].tobytes().decode()
    return end, _check_widths(codes, ends, commas & ~quoted, width)


def _mask(codes: _Bytes, code: int) -> _Mask:
    """Where this byte stands, the first place lowest."""
    here = np.empty(-(-len(codes) // 64) * 64, bool)
    here[len(codes) :] = False
    np.equal(codes, code, out=here[: len(codes)])
    return np.packbits(here, bitorder="little").view("<u8")


def _parity(bits: _Mask) -> _Mask:
    """Whether the bits up to each one, itself included, are odd in number."""
    for step in _STEPS:
        bits = bits ^ (bits << step)
    odd = np.bitwise_xor.accumulate(bits >> _TOP)
    bits[1:] ^= -odd[:-1]
    return bits


def _behind_last(bits: _Mask) -> int:
    """The place after the last bit that is set; 0 where none is."""
    word = len(bits) - 1 - int(np.argmax(bits[::-1] != 0))
    return 64 * word + int(bits[word]).bit_length() if bits[word] else 0


def _first(words: int, end: int) -> _Mask:
    """The mask of all places before `end`."""
    mask = np.zeros(words, np.uint64)
    mask[: end // 64] = np.iinfo(np.uint64).max
    if end % 64:
        mask[end // 64] = (1 << end % 64) - 1
    return mask


def _check_quotes(quotes: _Mask, quoted: _Mask, before: _Mask, behind: _Mask) -> None:
    """Doubt where an opening quote does not follow a bit of `before`, or a bit of `behind` does
    not follow another quote."""
    opening = quotes & quoted
    follows = _previous(before)
    follows[0] |= _ONE
    torn = opening & ~follows
    torn |= (quotes ^ opening) & ~_next(behind)
    require(not torn.any())


def _previous(bits: _Mask) -> _Mask:
    """Whether the bit before each one is set."""
    moved = bits << _ONE
    moved[1:] |= bits[:-1] >> _TOP
    return moved


def _next(bits: _Mask) -> _Mask:
    """Whether the bit after each one is set."""
    moved = bits >> _ONE
    moved[:-1] |= bits[1:] << _TOP
    return moved


def _check_widths(codes: _Bytes, ends: _Mask, commas: _Mask, width: int) -> int:
    """How many rows end at the bits of `ends`; Doubt where one is not as wide as the header."""
    word, bit = _places(ends)
    counts = np.bitwise_count(commas)
    behind = np.bitwise_count(commas[word] >> bit)  # in the same word: a newline is no comma
    commas_before = counts.cumsum(dtype=np.int64)[word] - behind
    torn = np.flatnonzero(np.diff(commas_before, prepend=0) != width - 1)
    if len(torn):
        places = 64 * word + bit.view(np.int64)
        starts = np.append(0, places[:-1] + 1)[torn]
        lengths = places[torn] - starts
        require(bool(((lengths == 0) | (lengths == 1) & (codes[starts] == _RETURN)).all()))
    return len(word)


def _places(bits: _Mask) -> tuple[npt.NDArray[np.intp], _Mask]:
    """The word of each bit that is set, and its number there, in their order."""
    word = np.flatnonzero(bits)
    there = bits[word]
    if not (there & (there - _ONE)).any():
        return word, np.bitwise_count(there - _ONE).astype(np.uint64)
    found = np.flatnonzero(np.unpackbits(there.view(np.uint8), bitorder="little").view(bool))
    return word[found >> 6], (found & 63).view(np.uint64)
