"""What a run of the benchmarks has given: as data, as JSON, and back."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.measure import Comparison, Goal


@dataclass(frozen=True, slots=True)
class Section:
    """What one benchmark has given, and why it has given no more, if so."""

    name: str
    title: str
    comparisons: tuple[Comparison, ...]
    skipped: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """One run of the benchmarks, and the machine it was made on."""

    facts: dict[str, str]
    sections: tuple[Section, ...]

    def goals(self) -> Iterator[tuple[Comparison, tuple[Goal, ...]]]:
        """The comparisons that have a goal to reach, each with those of its goals."""
        for section in self.sections:
            for comparison in section.comparisons:
                if goals := tuple(goal for goal in comparison.goals if goal.is_bound):
                    yield comparison, goals


def write_json(report: Report, path: Path) -> None:
    """Write the whole report to a file, for people to read too."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)))


def read_json(path: Path) -> Report:
    """The report that `write_json` has written; `msgspec.ValidationError` if it is none."""
    return msgspec.json.decode(path.read_bytes(), type=Report)
