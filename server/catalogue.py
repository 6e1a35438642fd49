"""What can be asked: the statistics, and the names that the table knows.

Turns the body of a request into a checked request, or into an error that says what was
wrong and what exists, before anything is accepted.
"""

import json
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from functools import cached_property, partial
from heapq import nsmallest
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from server.dataset import Description
from server.errors import BadRequest, UnknownName
from server.request_fields import VOCABULARY, described, field_list
from server.stats.statistic import Filters, Json, Statistic
from server.table import MISSING, NO_YEAR, Table

_NEAREST = 3
_MOST_COMPARED = 100  # names, so that nobody waits long to hear that there is no such one
_LONGEST_QUOTE = 100


class Catalogue:
    """The statistics and one table's names. Immutable, so safe for any number of threads."""

    def __init__(
        self, table: Table, description: Description, statistics: Mapping[str, Statistic]
    ) -> None:
        self.table = table
        self.statistics = statistics
        self._description = description
        self.years = _years(table)
        self._divisions = _divisions(table)

    @property
    def title(self) -> str:
        """What the table is called, as its description says."""
        return self._description.title

    def request(self, statistic: Statistic, body: bytes | str) -> Any:
        """The request that `body` (JSON) makes of `statistic`.

        Names that the table knows under an older or newer form are put into the table's.
        BadRequest or UnknownName says what was wrong.
        """
        return self.checked(statistic, parse_object(body))

    def statistic(self, name: str) -> Statistic:
        """The statistic of this name; UnknownName where there is none."""
        if name not in self.statistics:
            meant = partial(nearest, name, list(self.statistics))
            raise UnknownName("statistic", _shorten(name), meant)
        return self.statistics[name]

    def checked(self, statistic: Statistic, fields: dict[str, Any]) -> Any:
        """The request that these fields make of `statistic`; as `request`."""
        try:
            request = msgspec.convert(fields, statistic.request)
        except msgspec.ValidationError as error:
            wrong = _shorten(str(error))
            raise BadRequest(f"{wrong}; the fields are: {field_list(statistic.request)}") from None
        request = self._with_known_names(request)
        self._check_filters(request)
        return request

    def _with_known_names(self, request: Any) -> Any:
        given = {
            field: name
            for field in request.__struct_fields__
            if field in VOCABULARY and (name := getattr(request, field)) is not None
        }
        known = {field: self._known(field, name) for field, name in given.items()}
        return request if known == given else msgspec.structs.replace(request, **known)

    def _known(self, field: str, given: str | tuple[str, ...]) -> str | tuple[str, ...]:
        """The name or names as the table has them."""
        if isinstance(given, tuple):
            return tuple(self._known_name(field, name) for name in given)
        return self._known_name(field, given)

    def _known_name(self, field: str, name: str) -> str:
        what, key = VOCABULARY[field]
        candidate: str
        for candidate in (name, *self._description.synonyms_of(key, name)):
            if self.table.names.code(key, candidate) is not None:
                return candidate
        vocabulary: Sequence[str] = getattr(self.table.names, key)
        raise UnknownName(what, _shorten(name), partial(nearest, name, vocabulary))

    def _check_filters(self, request: Any) -> None:
        """BadRequest where filters contradict each other, or no row could pass them."""
        if not isinstance(request, Filters):
            return
        if request.years is not None:
            self._check_years(*request.years)
        strata = self._divisions.get(request.category or "", ())
        if request.category and request.stratum and request.stratum not in strata:
            is_few = len(strata) <= _MOST_COMPARED
            known = strata if is_few else nearest(request.stratum, strata)
            raise BadRequest(
                f"category {request.category!r} has no stratum {request.stratum!r}; "
                f"{'it has' if is_few else f'nearest of its {len(strata)}'}: "
                f"{', '.join(map(repr, known))}"
            )
        state = getattr(request, "state", None)
        if state is not None and request.states is not None and state not in request.states:
            raise BadRequest(f"the state {state!r} is not among the states that are to count")

    def _check_years(self, first: int, last: int) -> None:
        if first > last:
            raise BadRequest(f"years must be [from, to], but {first} is after {last}")
        if not any(first <= year <= last for year in self.years):
            known = f"from {self.years[0]} to {self.years[-1]}" if self.years else "none"
            raise BadRequest(f"the table has no year from {first} to {last}; it has: {known}")

    def accepted_names(self, key: str) -> list[str]:
        """Every name that requests may use for what is in the vocabulary of `key`."""
        names: tuple[str, ...] = getattr(self.table.names, key)
        others = (other for name in names for other in self._description.synonyms_of(key, name))
        return list(dict.fromkeys((*names, *others)))

    def describe_statistics(self) -> list[Json]:
        """Every statistic: its address, what is said of it, and the fields of its requests."""
        return self._described_statistics

    @cached_property
    def _described_statistics(self) -> list[Json]:
        return [
            {
                "name": each.name,
                "path": f"/api/{each.name}",
                "summary": each.summary,
                "fields": described(each.request),
                "formula": each.formula,
                "source": each.source,
                "example": dict(each.example),
            }
            for each in self.statistics.values()
        ]

    def describe_questions(self) -> list[Json]:
        """Every question with its rows that have a value, their years, and what is better."""
        return self._described_questions

    @cached_property
    def _described_questions(self) -> list[Json]:
        names, extents = self.table.names, _extents(self.table)
        return [
            {
                "question": question,
                "rows": rows,
                "years": years,
                "direction": "low" if question in names.better_low else "high",
            }
            for question, (rows, years) in zip(names.question, extents, strict=True)
        ]

    def states(self) -> list[str]:
        """Every state's name, in order."""
        return list(self.table.names.location)

    def categories(self) -> list[Json]:
        """Every category that has rows with a value, with its strata, in order."""
        return [
            {"category": category, "strata": strata} for category, strata in self._divisions.items()
        ]


def _years(table: Table) -> list[int]:
    """The years of the rows that have a value, ascending."""
    years: list[int] = np.unique(table.level("year").codes).tolist()
    return [year for year in years if year != NO_YEAR]


def _extents(table: Table) -> list[tuple[int, list[int]]]:
    """(rows, years) of each question; no rows where none has a value."""
    extents: list[tuple[int, list[int]]] = [(0, []) for _ in table.names.question]
    questions = table.level("question")
    bounds = np.arange(len(questions.codes) + 1)
    for level in table.levels[:-1]:
        bounds = level.starts[bounds]
    ranges = pairwise(bounds.tolist())
    for code, rows, (first, end) in zip(questions.codes, questions.counts, ranges, strict=True):
        years = np.unique(table.level("year").codes[first:end]).tolist()
        extents[code] = (int(rows), [year for year in years if year != NO_YEAR])
    return extents


def _divisions(table: Table) -> dict[str, list[str]]:
    """Each category of the rows that have a value, with its strata, in the order of the names."""
    rows = table.level("year").starts[table.level("stratum").starts[:-1]]
    pairs = np.unique(np.stack([table.category[rows], table.stratum[rows]]), axis=1)
    found: dict[str, list[str]] = {}
    for category, stratum in zip(*pairs.tolist(), strict=True):
        if category != MISSING:
            strata = found.setdefault(table.names.category[category], [])
            strata.append(table.names.stratum[stratum])
    return found


def parse_object(body: bytes | str) -> dict[str, Any]:
    """The JSON object in `body`; BadRequest where it is none, or not strictly JSON."""
    try:
        text = body if isinstance(body, str) else body.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_distinct,
            parse_constant=_no_constant,
            parse_float=_number,
        )
        text_again = json.dumps(value, ensure_ascii=False)
        text_again.encode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8: byte {error.start} is not") from None
    except UnicodeEncodeError:
        raise BadRequest("the body has half of a surrogate pair, which is no text") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise BadRequest(f"the body is not JSON: {error.msg} ({place})") from None
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {_shorten(str(error))}") from None
    if not isinstance(value, dict):
        raise BadRequest('the body must be a JSON object, such as {"question": "..."}')
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadRequest(f"the field {_shorten(twice)!r} stands twice")
    return found


def _number(text: str) -> int | float:
    """A number with a fraction or an exponent; JSON has one kind of number, so 5.0 is 5."""
    number = float(text)
    return int(number) if number.is_integer() else number


def _no_constant(name: str) -> None:
    raise BadRequest(f"{name} is not JSON; leave the field out or give a number")


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"


def nearest(name: str, known: Sequence[str]) -> list[str]:
    """The few of `known` that somebody who wrote `name` most likely meant, best first."""
    words = _shorten(name).lower().split()
    alike = _alike(words, known)
    return sorted(alike, key=lambda candidate: (-_likeness(words, candidate), candidate))[:_NEAREST]


def _alike(words: Sequence[str], known: Sequence[str]) -> Sequence[str]:
    """Of many names those few that have the most letters and pairs of letters of the words."""
    if len(known) <= _MOST_COMPARED:
        return known
    pieces = {piece for word in words for piece in (*word, *map("".join, pairwise(word)))}

    def place(candidate: str) -> tuple[int, int, str]:
        return -sum(map(candidate.lower().__contains__, pieces)), len(candidate), candidate

    return nsmallest(_MOST_COMPARED, known, key=place)


def _likeness(words: Sequence[str], candidate: str) -> float:
    """How well each word is met by some word of the candidate, from 0 to 1."""
    theirs = candidate.lower().split()
    if not words or not theirs:
        return 0.0
    matcher = SequenceMatcher(autojunk=False)
    total = 0.0
    for word in words:
        matcher.set_seq2(word)
        best = 0.0
        for other in theirs:
            matcher.set_seq1(other)
            if matcher.real_quick_ratio() > best and matcher.quick_ratio() > best:
                best = max(best, matcher.ratio())
        total += best
    # Of two that meet every word, the one with fewer words of its own is nearer.
    return total / len(words) - 0.001 * len(theirs)
