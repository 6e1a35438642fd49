"""A body becomes a checked request, or an error that says what was wrong and what exists."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import catalogue as catalogue_module
from server.catalogue import Catalogue, nearest
from server.dataset import Columns, Description, Synonyms
from server.errors import BadRequest, UnknownName
from server.request_fields import described as described_fields
from server.stats import STATISTICS
from server.stats.statistic import JobRequest, QuestionRequest, StateRequest, Statistic
from tests.support.tables import Row, table_of

OBESITY = "Percent of adults aged 18 years and older who have obesity"
OVERWEIGHT = "Percent of adults aged 18 years and older who have an overweight classification"
WALKING = "Percent of adults who walk"
UNASKED = "Percent of adults whom nobody asked"

TABLE = table_of(
    [
        Row(OBESITY, "Alabama", "Sex", "Male", 2012, 30.0),
        Row(OBESITY, "Ohio", "Sex", "Male", 2011, 31.0),
        Row(OBESITY, "Ohio", "Sex", "Female", 2011, 32.0),
        Row(OVERWEIGHT, "Virgin Islands", None, None, None, 33.0),
        Row(WALKING, "Coeur d'Alene", "Sex", "Male", 2020, 34.0),
        Row(WALKING, "Coeur d'Alene", "Sex", "Male", None, 35.0),
        Row(WALKING, "Coeur d'Alene", "Age", "Young", 2020, 35.0),
        Row(WALKING, "Coeur d'Alene", "Age", "Old", 2020, 35.0),
        Row(UNASKED, "Guam", "Sex", "Male", 2020, None),
    ],
    better_low=[OBESITY, OVERWEIGHT],
)

DESCRIPTION = Description(
    title="Invented",
    columns=Columns(location=("LocationDesc",), question=("Question",), value=("Data_Value",)),
    synonyms=Synonyms(
        question=((WALKING, "Percent of adults who go on foot"),),
        location=(("U.S. Virgin Islands", "Virgin Islands", "USVI"), ("Ohio", "Alabama")),
        category=(("Sex", "Gender"),),
    ),
)

STATES_MEAN, STATE_MEAN = STATISTICS["states_mean"], STATISTICS["state_mean"]


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue(TABLE, DESCRIPTION, STATISTICS)


def body_of(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def refusal(catalogue: Catalogue, body: bytes | str, statistic: Statistic = STATE_MEAN) -> str:
    with pytest.raises(BadRequest) as caught:
        catalogue.request(statistic, body)
    assert caught.value.status == 400
    return str(caught.value)


# -- what is asked for ----------------------------------------------------------------


def test_a_body_becomes_the_request_of_its_statistic(catalogue: Catalogue) -> None:
    assert catalogue.request(STATES_MEAN, body_of(question=OBESITY)) == QuestionRequest(OBESITY)
    asked = catalogue.request(STATE_MEAN, body_of(question=OBESITY, state="Ohio"))
    assert asked == StateRequest(OBESITY, "Ohio")


def test_text_is_taken_as_bytes_are(catalogue: Catalogue) -> None:
    text = body_of(question=WALKING, state="Coeur d'Alene").decode()
    assert catalogue.request(STATE_MEAN, text) == StateRequest(WALKING, "Coeur d'Alene")


def test_what_was_taken_once_is_taken_again(catalogue: Catalogue) -> None:
    request = catalogue.request(STATE_MEAN, body_of(question=OBESITY, state="USVI"))
    assert catalogue.request(STATE_MEAN, msgspec.json.encode(request)) == request


def test_a_number_without_a_fraction_is_whole_however_it_is_written(catalogue: Catalogue) -> None:
    ways = [f'{{"question": "{OBESITY}", "priority": {seven}}}' for seven in ("7", "7.0", "0.7e1")]
    first, *others = [catalogue.request(STATES_MEAN, way) for way in ways]
    assert first.priority == 7
    assert type(others[0].priority) is int
    assert others == [first, first]
    half = f'{{"question": "{OBESITY}", "priority": 7.5}}'
    assert "Expected `int`, got `float`" in refusal(catalogue, half, STATES_MEAN)


def test_every_accepted_name_is_accepted_and_listed_once(catalogue: Catalogue) -> None:
    names = catalogue.accepted_names("location")
    assert len(set(names)) == len(names)
    assert {"Virgin Islands", "USVI", "U.S. Virgin Islands", "Ohio", "Guam"} <= set(names)
    for name in names:
        catalogue.request(STATE_MEAN, body_of(question=OBESITY, state=name))


def test_a_name_without_values_can_be_asked_for(catalogue: Catalogue) -> None:
    asked = catalogue.request(STATE_MEAN, body_of(question=UNASKED, state="Guam"))
    assert asked == StateRequest(UNASKED, "Guam")


@pytest.mark.parametrize("state", ["U.S. Virgin Islands", "USVI", "Virgin Islands"])
def test_a_name_under_another_form_is_put_into_the_table_s(
    catalogue: Catalogue, state: str
) -> None:
    body = body_of(question="Percent of adults who go on foot", state=state)
    assert catalogue.request(STATE_MEAN, body) == StateRequest(WALKING, "Virgin Islands")


def test_a_name_that_the_table_has_is_not_put_into_another(catalogue: Catalogue) -> None:
    for state in ("Ohio", "Alabama"):
        asked = catalogue.request(STATE_MEAN, body_of(question=OBESITY, state=state))
        assert asked == StateRequest(OBESITY, state)


def test_filters_are_taken_in_the_tables_names(catalogue: Catalogue) -> None:
    body = body_of(
        question=WALKING,
        years=[2012, 2019],
        states=["USVI", "Ohio"],
        category="Gender",
        stratum="Male",
    )
    assert catalogue.request(STATES_MEAN, body) == QuestionRequest(
        WALKING,
        years=(2012, 2019),
        states=("Virgin Islands", "Ohio"),
        category="Sex",
        stratum="Male",
    )


@pytest.mark.parametrize(
    ("filters", "reason"),
    [
        ({"years": [2012, 2011]}, "years must be [from, to], but 2012 is after 2011"),
        ({"years": [2021, 2030]}, "the table has no year from 2021 to 2030; it has: from 2011 to"),
        ({"years": [2011]}, "of length 2"),
        ({"years": ["2011", "2012"]}, "Expected `int`"),
        ({"states": ["Oiho"]}, "no state 'Oiho'; nearest: 'Ohio'"),
        ({"states": []}, "length >= 1"),
        ({"category": "Sx"}, "no category 'Sx'; nearest: 'Sex'"),
        ({"stratum": "Mle"}, "no stratum 'Mle'; nearest: 'Male'"),
        (
            {"category": "Age", "stratum": "Male"},
            "category 'Age' has no stratum 'Male'; it has: 'Old', 'Young'",
        ),
        ({"states": ["Guam"]}, "the state 'Ohio' is not among the states"),
        ({"priority": 10}, "<= 9"),
        ({"priority": -1}, ">= 0"),
        ({"timeout_s": 0}, "> 0"),
    ],
)
def test_a_filter_that_no_row_could_pass_is_refused(
    catalogue: Catalogue, filters: dict[str, Any], reason: str
) -> None:
    assert reason in refusal(catalogue, body_of(question=OBESITY, state="Ohio", **filters))


def test_a_table_without_years_or_strata_says_so() -> None:
    table = table_of([Row(OBESITY, "Ohio", None, None, None, 1.0)])
    bare = Catalogue(table, DESCRIPTION, STATISTICS)
    body = body_of(question=OBESITY, state="Ohio", years=[2011, 2012])
    assert "it has: none" in refusal(bare, body)
    body = body_of(question=OBESITY, state="Ohio", stratum="Male")
    assert "no stratum 'Male': the table has none" in refusal(bare, body)
    assert bare.categories() == []


def test_every_category_is_listed_with_its_strata(catalogue: Catalogue) -> None:
    assert catalogue.categories() == [
        {"category": "Age", "strata": ["Old", "Young"]},
        {"category": "Sex", "strata": ["Female", "Male"]},
    ]


def test_a_request_without_names_is_not_looked_at() -> None:
    class Loose(JobRequest, frozen=True):
        number: int
        question: str | None = None

    def nothing(table: object, request: object, part: object) -> None:
        return None

    loose = Statistic("loose", "Nothing.", Loose, nothing)
    catalogue = Catalogue(TABLE, DESCRIPTION, {"loose": loose})
    assert catalogue.request(loose, b'{"number": 7}') == Loose(7)
    assert "no question 'x'" in refusal(catalogue, b'{"number": 7, "question": "x"}', loose)


# -- what is refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "is not JSON: Expecting value (line 1 column 1)"),
        (b"{", "is not JSON"),
        (b'{"question": 1}}', "is not JSON: Extra data"),
        (b"{'question': 1}", "is not JSON"),
        (b'{"question": "\x00"}', "is not JSON: Invalid control character"),
        (b'{"question": "\xff"}', "is not UTF-8: byte 14 is not"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        (b'{"question": "\\ud800"}', "half of a surrogate pair"),
        (b'{"\\udfff": 1}', "half of a surrogate pair"),
        (b'{"question": NaN}', "NaN is not JSON"),
        (b'{"question": -Infinity}', "-Infinity is not JSON"),
        (b'{"question": ' + b"9" * 5000 + b"}", "is not JSON"),
        (b"[" * 60_000, "is nested too deeply"),
        (b'{"a":' * 10_000, "is nested too deeply"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'"question"', "must be a JSON object"),
        (b'{"question": "a", "question": "b"}', "the field 'question' stands twice"),
        (b'{"x": {"y": 1, "y": 1}}', "the field 'y' stands twice"),
    ],
)
def test_what_is_not_strictly_json_is_refused(
    catalogue: Catalogue, body: bytes, reason: str
) -> None:
    assert reason in refusal(catalogue, body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "missing required field `question`"),
        ({"question": OBESITY}, "missing required field `state`"),
        ({"question": 7, "state": "Ohio"}, "Expected `str`, got `int` - at `$.question`"),
        ({"question": None, "state": "Ohio"}, "Expected `str`, got `null` - at `$.question`"),
        ({"question": OBESITY, "state": ["Ohio"]}, "Expected `str`, got `array` - at `$.state`"),
        ({"question": OBESITY, "state": "Ohio", "year": 2011}, "unknown field `year`"),
    ],
)
def test_what_is_not_the_statistic_s_fields_is_refused_with_their_list(
    catalogue: Catalogue, body: dict[str, Any], reason: str
) -> None:
    said = refusal(catalogue, json.dumps(body))
    assert reason in said
    assert said.endswith(
        "; the fields are: question (str), state (str), timeout_s (float), priority (int), "
        "years (list of 2 int), states (list of str), category (str), stratum (str)"
    )


def test_what_may_have_been_meant_is_not_looked_for_before_it_is_told() -> None:
    told: list[str] = []

    def look() -> list[str]:
        told.append("looked")
        return ["Ohio"]

    error = UnknownName("state", "Ohoi", look)
    assert told == []
    assert str(error) == "no state 'Ohoi'; nearest: 'Ohio'"
    assert told == ["looked"]


def test_an_unknown_name_is_told_with_the_nearest(catalogue: Catalogue) -> None:
    with pytest.raises(UnknownName) as caught:
        catalogue.request(STATES_MEAN, body_of(question="obesty"))
    assert str(caught.value).startswith(f"no question 'obesty'; nearest: {OBESITY!r}, ")
    said = refusal(catalogue, body_of(question=OBESITY, state="Oiho"))
    assert said.startswith("no state 'Oiho'; nearest: 'Ohio', ")


@pytest.mark.parametrize("state", ["", " Ohio", "ohio", "OHIO", "Ohio\n", "O\u0336hio"])
def test_a_name_is_taken_only_as_it_is_written(catalogue: Catalogue, state: str) -> None:
    said = refusal(catalogue, body_of(question=OBESITY, state=state))
    assert said.startswith(f"no state {state!r}; nearest: ")


@pytest.mark.parametrize("key", ["question", "state", "extra"])
def test_an_error_is_short_however_long_the_request_is(catalogue: Catalogue, key: str) -> None:
    fields = {"question": OBESITY, "state": "Ohio"}
    fields |= {"x" * 60_000: ""} if key == "extra" else {key: "x y " * 15_000}
    assert len(refusal(catalogue, json.dumps(fields))) < 1000


@given(st.binary() | st.text(st.characters()))
def test_any_body_is_refused_in_words_or_taken(body: bytes | str) -> None:
    catalogue = Catalogue(TABLE, DESCRIPTION, STATISTICS)
    assert refusal(catalogue, body)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(["question", "state", "x"]),
        ANY_JSON | st.sampled_from([OBESITY, "Ohio", "USVI"]),
    )
)
def test_any_json_is_refused_in_words_or_names_what_the_table_has(fields: dict[str, Any]) -> None:
    catalogue = Catalogue(TABLE, DESCRIPTION, STATISTICS)
    try:
        request = catalogue.request(STATE_MEAN, json.dumps(fields))
    except BadRequest:
        return
    assert request.question in TABLE.names.question
    assert request.state in TABLE.names.location


def test_of_a_category_of_many_strata_the_nearest_are_told() -> None:
    rows = [Row(WALKING, "Ohio", "Trade", f"Trade {n}", 2011, 1.0) for n in range(500)]
    rows.append(Row(WALKING, "Ohio", "Age", "Trade 5000", 2011, 1.0))
    catalogue = Catalogue(table_of(rows), DESCRIPTION, STATISTICS)
    body = body_of(question=WALKING, state="Ohio", category="Trade", stratum="Trade 5000")
    message = refusal(catalogue, body)
    assert "has no stratum 'Trade 5000'; nearest of its 500: 'Trade 50', " in message
    assert len(message) < 200


# -- the nearest names ----------------------------------------------------------------

KNOWN = ["Alabama", "Alaska", "New Hampshire", "New Jersey", "New Mexico", "New York", "Ohio"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("alaska", "Alaska"),
        ("Alabma", "Alabama"),
        ("Jersey", "New Jersey"),
        ("york new", "New York"),
        ("Nwe Mexcio", "New Mexico"),
    ],
)
def test_the_nearest_name_is_what_was_meant(name: str, meant: str) -> None:
    assert nearest(name, KNOWN)[0] == meant


MANY = [*KNOWN, *(f"{state} County {n}" for state in KNOWN for n in range(500))]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Oiho", "Ohio"),
        ("Alabma", "Alabama"),
        ("york new", "New York"),
        ("alaska county 17", "Alaska County 17"),
        ("New Mexcio, Countty 499", "New Mexico County 499"),
    ],
)
def test_of_thousands_of_names_few_are_compared_and_the_nearest_one_is_found(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    compared = []
    likeness = catalogue_module._likeness

    def counted(words: Sequence[str], candidate: str) -> float:
        compared.append(candidate)
        return likeness(words, candidate)

    monkeypatch.setattr(catalogue_module, "_likeness", counted)
    assert nearest(name, MANY)[0] == meant
    assert len(compared) <= 100


@given(st.text(), st.lists(st.text(), unique=True))
def test_the_nearest_are_up_to_three_of_the_known(name: str, known: list[str]) -> None:
    found = nearest(name, known)
    assert len(found) == min(3, len(known))
    assert len(set(found)) == len(found)
    assert set(found) <= set(known)


@given(st.text(min_size=1), st.permutations(KNOWN))
def test_the_nearest_do_not_depend_on_the_order_of_the_known(name: str, known: list[str]) -> None:
    assert nearest(name, known) == nearest(name, KNOWN)


# -- what there is --------------------------------------------------------------------


def test_every_question_is_described(catalogue: Catalogue) -> None:
    described = [
        {"question": OVERWEIGHT, "rows": 1, "years": [], "direction": "low"},
        {"question": OBESITY, "rows": 3, "years": [2011, 2012], "direction": "low"},
        {"question": WALKING, "rows": 4, "years": [2020], "direction": "high"},
        {"question": UNASKED, "rows": 0, "years": [], "direction": "high"},
    ]
    assert catalogue.describe_questions() == sorted(described, key=lambda each: each["question"])


def test_what_there_is_is_described_once_however_often_it_is_asked_for(
    catalogue: Catalogue,
) -> None:
    assert catalogue.describe_questions() is catalogue.describe_questions()
    assert catalogue.describe_statistics() is catalogue.describe_statistics()


def test_a_table_without_rows_has_nothing_to_describe() -> None:
    empty = Catalogue(table_of([]), DESCRIPTION, STATISTICS)
    assert empty.describe_questions() == []
    assert empty.states() == []


def test_every_state_is_named_in_order(catalogue: Catalogue) -> None:
    assert catalogue.states() == ["Alabama", "Coeur d'Alene", "Guam", "Ohio", "Virgin Islands"]


def test_every_statistic_is_described(catalogue: Catalogue) -> None:
    described = {each["name"]: each for each in catalogue.describe_statistics()}
    assert list(described) == list(STATISTICS)
    assert described["state_mean"] == {
        "name": "state_mean",
        "path": "/api/state_mean",
        "summary": STATE_MEAN.summary,
        "fields": described_fields(STATE_MEAN.request),
        "formula": STATE_MEAN.formula,
        "source": STATE_MEAN.source,
        "example": STATE_MEAN.example,
    }
    told = [(each["name"], each["type"]) for each in described["state_mean"]["fields"]]
    assert told == [
        ("question", "str"),
        ("state", "str"),
        ("timeout_s", "float"),
        ("priority", "int"),
        ("years", "list of 2 int"),
        ("states", "list of str"),
        ("category", "str"),
        ("stratum", "str"),
    ]


def test_what_is_described_is_plain_json(catalogue: Catalogue) -> None:
    for described in (
        catalogue.describe_statistics(),
        catalogue.describe_questions(),
        catalogue.states(),
        catalogue.categories(),
    ):
        assert json.loads(json.dumps(described)) == described
