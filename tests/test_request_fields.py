"""The fields of requests as a form needs them: nothing but what holds, and all of it."""

from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from server.request_fields import VOCABULARY, described, field_list, type_name
from server.stats import STATISTICS
from server.stats.statistic import QuestionRequest


class Request(QuestionRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request with a field of each kind."""

    state: str
    share: Annotated[float, Meta(gt=0, lt=1, description="A share.")] = 0.5
    number: Annotated[
        Annotated[int, Meta(ge=2, le=9)] | None, Meta(description="A number, or none.")
    ] = None
    kind: Annotated[Literal["a", "b"], Meta(description="One of two.")] = "a"
    strata: Annotated[tuple[str, str] | None, Meta(description="Two names.")] = None
    shares: Annotated[
        tuple[Annotated[float, Meta(ge=0, le=1)], ...], Meta(min_length=1, max_length=3)
    ] = (0.25, 0.75)


FIELDS = {field["name"]: field for field in described(Request)}
PLAIN = {"required": False, "optional": False, "many": False, "common": False, "about": ""}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("state", {"type": "str", "required": True, "vocabulary": "state"}),
        (
            "share",
            {
                "type": "float",
                "about": "A share.",
                "default": 0.5,
                "exclusive_minimum": 0,
                "exclusive_maximum": 1,
            },
        ),
        (
            "number",
            {
                "type": "int",
                "about": "A number, or none.",
                "optional": True,
                "minimum": 2,
                "maximum": 9,
            },
        ),
        (
            "kind",
            {"type": "a | b", "about": "One of two.", "default": "a", "choices": ["a", "b"]},
        ),
        (
            "strata",
            {
                "type": "list of 2 str",
                "about": "Two names.",
                "optional": True,
                "many": True,
                "length": 2,
                "vocabulary": "stratum",
            },
        ),
        (
            "shares",
            {
                "type": "list of float",
                "default": [0.25, 0.75],
                "many": True,
                "least": 1,
                "most": 3,
                "minimum": 0,
                "maximum": 1,
            },
        ),
    ],
)
def test_a_field_is_told_with_all_that_holds_for_it(name: str, told: dict[str, Any]) -> None:
    assert FIELDS[name] == {**PLAIN, "name": name, **told}


def test_the_fields_of_every_request_are_marked() -> None:
    common = {name for name, field in FIELDS.items() if field["common"]}
    assert common == {"timeout_s", "priority", "years", "states", "category", "stratum"}


def test_fields_come_in_the_order_of_the_request() -> None:
    assert list(FIELDS) == list(Request.__struct_fields__)


def test_a_message_names_each_field_with_its_type() -> None:
    assert field_list(Request).startswith("question (str), ")
    assert "shares (list of float)" in field_list(Request)
    assert type_name(Request.__annotations__["number"]) == "int"


@pytest.mark.parametrize("name", STATISTICS)
def test_every_field_of_every_statistic_has_its_sentence(name: str) -> None:
    for field in described(STATISTICS[name].request):
        assert field["about"].endswith("."), field["name"]


def test_every_vocabulary_is_one_of_the_four_kinds_of_names() -> None:
    kinds = {what for what, _ in VOCABULARY.values()}
    assert kinds == {"question", "state", "category", "stratum"}
