"""The table of edges, the code and the drawing say the same about a job's life."""

import re
from collections.abc import Iterator
from itertools import product

import pytest

from server import job_state
from server.job_state import EDGES, IllegalChange, JobState, change

FINAL = {JobState.DONE, JobState.FAILED, JobState.CANCELLED}

PAIRS = list(product(JobState, JobState))


def pair_name(value: object) -> str:
    return str(value)


@pytest.mark.parametrize(("current", "to"), PAIRS, ids=pair_name)
def test_a_change_is_allowed_exactly_where_there_is_an_edge(
    current: JobState, to: JobState
) -> None:
    if to in EDGES[current]:
        assert change(current, to) is to
    else:
        with pytest.raises(IllegalChange, match=f"from {current} to {to}"):
            change(current, to)


def test_every_state_has_its_row_of_edges() -> None:
    assert set(EDGES) == set(JobState)


def test_no_state_is_left_and_come_back_to() -> None:
    def after(state: JobState) -> Iterator[JobState]:
        for following in EDGES[state]:
            yield following
            yield from after(following)

    assert all(state not in after(state) for state in JobState)


def test_every_state_can_be_reached() -> None:
    reached = {JobState.QUEUED}.union(*EDGES.values())
    assert reached == set(JobState)


@pytest.mark.parametrize("state", JobState)
def test_final_states_are_those_without_edges(state: JobState) -> None:
    assert state.final == (state in FINAL)
    assert state.final == (not EDGES[state])


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (JobState.QUEUED, "running"),
        (JobState.RUNNING, "running"),
        (JobState.DONE, "done"),
        (JobState.FAILED, "error"),
        (JobState.CANCELLED, "error"),
    ],
)
def test_clients_of_the_first_version_read_three_words(state: JobState, status: str) -> None:
    assert state.status == status


def test_the_words_of_the_ledger_are_fixed() -> None:
    assert [str(state) for state in JobState] == [
        "queued",
        "running",
        "done",
        "failed",
        "cancelled",
    ]


# -- the drawing ----------------------------------------------------------------------

UP, DOWN, LEFT, RIGHT = (-1, 0), (1, 0), (0, -1), (0, 1)
LINES = {
    "─": (LEFT, RIGHT),
    "│": (UP, DOWN),
    "┌": (DOWN, RIGHT),
    "┐": (DOWN, LEFT),
    "└": (UP, RIGHT),
    "┘": (UP, LEFT),
    "┴": (UP, LEFT, RIGHT),
    "┬": (DOWN, LEFT, RIGHT),
    "├": (UP, DOWN, RIGHT),
    "┤": (UP, DOWN, LEFT),
}
HEADS = {"▶": RIGHT, "◀": LEFT, "▲": UP, "▼": DOWN}

Place = tuple[int, int]


class Drawing:
    """A drawing of states and arrows, followed from character to character."""

    def __init__(self, text: str) -> None:
        self.text = text.splitlines()
        self.states = {
            (row, column): JobState[match[0]]
            for row, line in enumerate(self.text)
            for match in re.finditer("|".join(JobState.__members__), line)
            for column in range(match.start() - 1, match.end() + 1)  # a blank on either side
        }

    def at(self, place: Place) -> str:
        row, column = place
        inside = 0 <= row < len(self.text) and 0 <= column < len(self.text[row])
        return self.text[row][column] if inside else " "

    def edges(self) -> set[tuple[JobState, JobState]]:
        """(from, to) for each arrow head that a line from a state leads to."""
        return {
            (state, end)
            for place, state in self.states.items()
            for step in (UP, DOWN, LEFT, RIGHT)
            for end in self.ends(step_from(place, step), step, set())
        }

    def ends(self, place: Place, step: Place, seen: set[Place]) -> Iterator[JobState]:
        character = self.at(place)
        if HEADS.get(character) == step:
            target = step_from(place, step)
            assert target in self.states, f"an arrow to nowhere in line {place[0] + 1}"
            yield self.states[target]
        back = (-step[0], -step[1])
        if place in seen or back not in LINES.get(character, ()):
            return
        seen.add(place)
        for onward in LINES[character]:
            if onward != back:
                yield from self.ends(step_from(place, onward), onward, seen)


def step_from(place: Place, step: Place) -> Place:
    return place[0] + step[0], place[1] + step[1]


def test_the_drawing_shows_exactly_the_edges() -> None:
    assert job_state.__doc__ is not None
    drawing = Drawing(job_state.__doc__.partition("\nA job is")[0])
    assert set(drawing.states.values()) == set(JobState)
    assert drawing.edges() == {(state, to) for state, ends in EDGES.items() for to in ends}


def test_an_arrow_that_is_drawn_wrongly_is_noticed() -> None:
    drawing = Drawing("  QUEUED ──▶ RUNNING\n     │         ▲\n     └─────────┘──▶ DONE")
    assert drawing.edges() == {(JobState.QUEUED, JobState.RUNNING)}
    with pytest.raises(AssertionError, match="nowhere"):
        Drawing("  QUEUED ──▶ AWAY").edges()
