"""Names by their parts, and a statistic's fields as options, without a server."""

import click
import pytest

from server.cli.names import matches, meant
from server.cli.options import Field, FieldOption, request_of, spread_spans
from server.cli.show import cell
from server.request_fields import described
from server.stats import STATISTICS

NAMES = ["Male", "Female", "18 - 24", "25 - 34", "Two words, and more"]
SPAN: Field = {"name": "years", "length": 2, "type": "list of 2 int"}


def test_a_name_that_is_whole_is_meant_alone() -> None:
    assert matches("Male", NAMES) == ["Male"]
    assert matches("male", NAMES) == ["Male"]
    assert matches("mal", NAMES) == ["Male", "Female"]


def test_the_words_may_stand_in_any_order() -> None:
    assert matches("more two", NAMES) == ["Two words, and more"]
    assert matches("two three", NAMES) == []


def test_what_none_contains_is_left_to_the_server() -> None:
    assert meant("state", "Atlantis", NAMES) == "Atlantis"
    assert meant("state", "", NAMES) == ""


def test_several_are_listed_but_not_without_end() -> None:
    with pytest.raises(click.UsageError, match="2 names of a stratum contain 'mal'") as caught:
        meant("stratum", "mal", NAMES)
    assert caught.value.message.endswith(":\n  Male\n  Female")
    with pytest.raises(click.UsageError, match="and 80 more"):
        meant("state", "s", [f"state {n}" for n in range(100)])


@pytest.mark.parametrize(
    "given",
    [
        ["--years", "2015", "2019"],
        ["--years", "2015-2019"],
        ["--years=2015-2019"],
        ["--years=2015", "2019"],
    ],
)
def test_a_span_is_written_in_any_way(given: list[str]) -> None:
    wanted = ["--years", "2015", "2019", "--json"]
    assert spread_spans([*given, "--json"], [SPAN]) == wanted


def test_a_span_of_one_is_from_there_to_there() -> None:
    assert spread_spans(["--years", "2015", "--json"], [SPAN]) == [
        *("--years", "2015", "2015", "--json")
    ]
    assert spread_spans(["--years"], [SPAN]) == ["--years"]
    assert spread_spans(["--years", "soon"], [SPAN]) == ["--years", "soon"]
    assert spread_spans(["--question", "2015-2019"], [SPAN]) == ["--question", "2015-2019"]


def test_only_what_is_given_is_sent() -> None:
    fields = described(STATISTICS["quantiles"].request)
    values = {"question": "q", "probabilities": (0.5,), "states": (), "years": None}
    assert request_of(values, fields) == {"question": "q", "probabilities": [0.5]}


@pytest.mark.parametrize("name", STATISTICS)
def test_every_field_of_a_statistic_is_an_option(name: str) -> None:
    fields = described(STATISTICS[name].request)
    options = {option.name: option for option in map(FieldOption, fields)}
    assert set(options) == set(STATISTICS[name].request.__struct_fields__)
    assert options["question"].required
    assert not options["years"].required
    assert options["years"].nargs == 2
    assert options["states"].multiple
    for field in fields:
        assert field["about"].replace(", in full", "") in str(options[field["name"]].help)


def test_bounds_and_choices_are_those_of_the_field() -> None:
    options = {
        field["name"]: FieldOption(field) for field in described(STATISTICS["trend"].request)
    }
    confidence = options["confidence"].type
    assert isinstance(confidence, click.FloatRange)
    assert (confidence.min, confidence.max) == (0, 1)
    assert (confidence.min_open, confidence.max_open) == (True, True)
    by = options["by"].type
    assert isinstance(by, click.Choice)
    assert list(by.choices) == ["state", "stratum"]


def test_a_cell_is_short_and_on_one_line() -> None:
    assert [cell(value) for value in (None, True, 3, 28.186206896551724, "a\nb\t c", [1])] == [
        *("", "yes", "3", "28.1862", "a b c", "[1]")
    ]
