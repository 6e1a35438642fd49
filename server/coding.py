"""Texts as numbers: a column's vocabulary, and the code of each text in it.

The CSV library gives each text a number of its own as it meets it. What they mean is known when
all texts have been met: then the vocabulary is sorted, and a lookup gives each number's code.
"""

from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from server.csv_text import year
from server.table import MISSING, NO_YEAR, Codes

NOTHING = np.iinfo(np.uint32).max
"""The number of a cell without a text; what it means is the empty text."""

_Numbers = npt.NDArray[np.uint32]


class Coding(NamedTuple):
    """What stands for the texts of a column.

    `vocabulary` is sorted; that of years is empty. `lookup` has the code for each of the
    library's numbers, and at its end that for nothing.
    """

    vocabulary: tuple[str, ...]
    lookup: Codes

    @classmethod
    def of_names(cls, met: Mapping[int, str]) -> Self:
        """The texts that were met, sorted, and each one's place there; MISSING for blank ones."""
        vocabulary = tuple(sorted(text for text in met.values() if text.strip()))
        places = {text: place for place, text in enumerate(vocabulary)}
        codes = {number: places.get(text, MISSING) for number, text in met.items()}
        return cls(vocabulary, _lookup(codes, MISSING))

    @classmethod
    def of_years(cls, met: Mapping[int, str]) -> Self:
        """The years themselves, by the texts that were met; Doubt where one is none."""
        return cls((), _lookup({number: year(text) for number, text in met.items()}, NO_YEAR))

    def codes(self, numbers: _Numbers) -> Codes:
        """The codes for some of the library's numbers, or NOTHING."""
        codes = np.empty(len(numbers), np.int32)
        return self.lookup.take(numbers, out=codes, mode="clip")  # past the end is the end


def _lookup(codes: Mapping[int, int], nothing: int) -> Codes:
    numbers = [number for number in codes if number != NOTHING]
    lookup = np.full(max(numbers, default=-1) + 2, nothing, np.int32)
    lookup[numbers] = [codes[number] for number in numbers]
    return lookup
