"""The answer to "Threads or processes?" that follows from the figures of a run."""

from dataclasses import dataclass

from benchmarks.measure import Comparison, Figure
from benchmarks.pools import FREE_THREADS, LIMIT, OURS, THREADS
from benchmarks.results import Report
from benchmarks.wording import place, short


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer in a word or two, and the sentences it rests on."""

    answer: str
    sentences: tuple[str, ...]


def finding(report: Report) -> Finding:
    """Who did more of the same tasks a second, at the largest number of workers measured.

    A side is clearly ahead where its slowest run was faster than the other's fastest. It is
    the answer if it is ahead in more than half of the kinds of work, and never behind.
    """
    compared = [
        (comparison, _pairs(comparison, OURS, THREADS))
        for section in report.sections
        if section.name == "pools"
        for comparison in section.comparisons
    ]
    pairs = [pair for _, found in compared for pair in found]
    if not pairs:
        return Finding("Not measured", ("This run did not compare the pools.",))
    ahead, behind = _counts(pairs)
    sentences = [
        (
            f"The {OURS} was clearly faster in {ahead} of {len(pairs)} kinds of work,"
            f" the {THREADS} in {behind}: the slowest run of one faster than the other's fastest."
        ),
        *(_told(comparison, found) for comparison, found in compared if found),
    ]
    for other in (LIMIT, FREE_THREADS):
        ratios = [
            ours.median / theirs.median
            for comparison, _ in compared
            for ours, theirs in _pairs(comparison, OURS, other)
        ]
        if ratios:
            sentences.append(f"Against {other}, the {OURS} reached {_range(ratios)} times as much.")
    return Finding(_answer(pairs), tuple(sentences))


def _pairs(comparison: Comparison, first: str, second: str) -> list[tuple[Figure, Figure]]:
    """What both sides gave at the same task, at the largest place where there are several."""
    places = [figure.at for figure in comparison.figures if figure.at is not None]
    last = max(places, default=None)
    ones, others = _by_subject(comparison, first, last), _by_subject(comparison, second, last)
    return [
        (one, others[subject])
        for subject, one in ones.items()
        if subject in others and others[subject].median > 0
    ]


def _by_subject(comparison: Comparison, side: str, at: float | None) -> dict[str, Figure]:
    """By what stands before the side's name: `""`, or `"mean: "` for `"mean: thread pool"`."""
    return {
        figure.name.removesuffix(side): figure
        for figure in comparison.figures
        if figure.at == at and (figure.name == side or figure.name.endswith(f": {side}"))
    }


def _answer(pairs: list[tuple[Figure, Figure]]) -> str:
    ahead, behind = _counts(pairs)
    if not ahead and not behind:
        return "No clear difference"
    if min(ahead, behind) or max(ahead, behind) * 2 <= len(pairs):
        return "It depends on the work"
    return "Processes" if ahead else "Threads"


def _counts(pairs: list[tuple[Figure, Figure]]) -> tuple[int, int]:
    """How often processes are ahead, and how often threads."""
    return (
        sum(ours.low > threads.high for ours, threads in pairs),
        sum(threads.low > ours.high for ours, threads in pairs),
    )


def _told(comparison: Comparison, pairs: list[tuple[Figure, Figure]]) -> str:
    ratios = [ours.median / threads.median for ours, threads in pairs]
    where = place(pairs[0][0], comparison)
    return (
        f"{comparison.title}{f', {where}' if where else ''}: "
        f"the {OURS} did {_range(ratios)} times what the {THREADS} did."
    )


def _range(ratios: list[float]) -> str:
    low, high = short(min(ratios)), short(max(ratios))
    return low if low == high else f"{low} to {high}"
