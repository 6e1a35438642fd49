"""Whether all rows of a CSV file are whole, and mean the same to every reader.

Each byte is looked at once, 64 at a time: one mask has a bit for each quote, another for each
comma or newline. Where the quotes before a byte are odd in number it stands within some, so
that the commas between fields are told from those in a text, and counted up to each newline.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from server.csv_text import Layout, opened, require

_NEWLINE, _RETURN, _QUOTE, _COMMA = b'\n\r",'
_PIECE = 1 << 19  # bytes, so that a piece stays in a core's cache
_STEPS = [np.uint64(1 << step) for step in range(6)]
_ONE, _TOP = np.uint64(1), np.uint64(63)

_Bytes = npt.NDArray[np.uint8]
_Mask = npt.NDArray[np.uint64]
_Counts = npt.NDArray[np.int64]


def count_rows(layout: Layout) -> int:
    """How many lines and rows of several lines stand below the header, blank ones included.

    Doubt where one that is not blank has not as many fields as the header, where the text is
    no UTF-8, where a carriage return ends no line, or where a quote is neither at the edge of a
    field nor doubled: only without such quotes do polars and csv.reader cut the text alike. A
    row longer than a piece is in doubt too.
    """
    rows = 0
    piece = np.zeros(_PIECE, np.uint8)
    filled = 0
    with opened(layout.path) as stream:
        for _ in range(layout.line):
            stream.readline()
        while read := stream.readinto(piece[filled:].data):
            filled += read
            end, found = _check_rows(piece, filled, len(layout.header))
            require(filled - end < _PIECE)
            piece[: filled - end] = piece[end:filled]
            filled, rows = filled - end, rows + found
    if filled:
        require(piece[filled - 1] != _COMMA)  # polars overlooks an empty field at the very end
        piece[filled] = _NEWLINE
        end, found = _check_rows(piece, filled + 1, len(layout.header))
        require(end == filled + 1)
        rows += found
    return rows


def _check_rows(piece: _Bytes, filled: int, width: int) -> tuple[int, int]:
    """Where the last row ends of those at the start of a piece, and how many there are."""
    words = -(-filled // 64)
    piece[filled : 64 * words] = 0
    quotes, commas, newlines, returns = _masks(piece[: 64 * words])
    quoted = _parity(quotes)
    ends = newlines & ~quoted
    end = _behind_last(ends)
    if not end:
        return 0, 0
    inside = _first(words, end)
    _check_edges(quotes & inside, quoted, commas | newlines, newlines, returns & inside)
    if piece[:end].max() >= 0x80:
        piece[:end].tobytes().decode()
    return end, _check_widths(piece, ends, commas & ~quoted, width)


def _masks(codes: _Bytes) -> Iterator[_Mask]:
    """The masks of the quotes, commas, newlines and carriage returns, the first byte lowest."""
    here = np.empty(len(codes), bool)
    for code in (_QUOTE, _COMMA, _NEWLINE, _RETURN):
        np.equal(codes, code, out=here)
        yield np.packbits(here, bitorder="little").view("<u8")


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


def _check_edges(
    quotes: _Mask, quoted: _Mask, separators: _Mask, newlines: _Mask, returns: _Mask
) -> None:
    """Doubt where a carriage return or a quote does not stand where it may."""
    require(not (returns & ~_next(newlines)).any())
    before = _previous(separators | quotes)
    before[0] |= _ONE
    require(not (quotes & quoted & ~before).any())
    require(not (quotes & ~quoted & ~_next(separators | quotes | returns)).any())


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
    with_ends = np.flatnonzero(ends != 0)
    bits = np.unpackbits(ends[with_ends].view(np.uint8), bitorder="little")
    found = np.flatnonzero(bits.view(bool))  # of numbers, it would take five times as long
    word, bit = with_ends[found >> 6], found & 63
    before = np.bitwise_count(commas[word] & ((_ONE << bit.view(np.uint64)) - _ONE))
    counts = np.bitwise_count(commas).cumsum(dtype=np.int64)[word]
    commas_before = counts - np.bitwise_count(commas[word]) + before
    torn = np.flatnonzero(np.diff(commas_before, prepend=0) != width - 1)
    if len(torn):
        places = 64 * word + bit
        starts = np.append(0, places[:-1] + 1)[torn]
        lengths = places[torn] - starts
        require(bool(((lengths == 0) | (lengths == 1) & (codes[starts] == _RETURN)).all()))
    return len(found)
