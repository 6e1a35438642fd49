"""A dataset description says what it means, or the start stops with the reason."""

from pathlib import Path

import msgspec
import pytest

from server.dataset import load_description
from server.errors import DescriptionError

SHIPPED = Path(__file__).parents[1] / "data" / "cdc_brfss.toml"

LEAST = """
title = "Noise"
[columns]
location = "place"
question = ["kind"]
value = ["level", "decibel"]
"""


def described(folder: Path, text: str) -> Path:
    path = folder / "described.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_least_description_needs_a_title_and_three_columns(tmp_path: Path) -> None:
    description = load_description(described(tmp_path, LEAST))
    assert description.title == "Noise"
    assert description.source is None
    assert description.columns.by_role() == {
        "location": ("place",),
        "question": ("kind",),
        "value": ("level", "decibel"),
    }
    assert description.questions.better_low == ()


def test_everything_that_can_be_said_is_read(tmp_path: Path) -> None:
    text = f"""source = "https://example.org/noise" {LEAST}
        category = "by"
        stratum = ["part", "section"]
        year = "year"
        weight = "n"
        [questions]
        better_low = ["night"]
        better_high = ["rest"]
        [synonyms]
        question = [["night", "dark"], ["day", "light", "noon"]]
        """
    description = load_description(described(tmp_path, text))
    assert description.source == "https://example.org/noise"
    assert description.columns.stratum == ("part", "section")
    assert list(description.columns.by_role()) == [
        *("location", "question", "value", "category", "stratum", "year", "weight")
    ]
    assert description.questions.better_low == ("night",)
    assert description.questions.better_high == ("rest",)
    assert description.synonyms_of("question", "light") == ("day", "noon")


def test_a_name_without_a_group_and_a_role_without_groups_have_no_synonyms() -> None:
    description = load_description(SHIPPED)
    assert description.synonyms_of("category", "Gender") == ("Sex",)
    assert description.synonyms_of("category", "Sex") == ("Gender",)
    assert description.synonyms_of("category", "Income") == ()
    assert description.synonyms_of("location", "Gender") == ()
    assert description.synonyms_of("year", "2011") == ()


def test_a_description_cannot_be_changed(tmp_path: Path) -> None:
    description = load_description(described(tmp_path, LEAST))
    with pytest.raises(AttributeError, match="immutable"):
        description.title = "other"


def test_the_shipped_description_has_each_role_and_the_direction_of_nine_questions() -> None:
    description = load_description(SHIPPED)
    newest = {role: names[0] for role, names in description.columns.by_role().items()}
    assert newest == {
        "location": "LocationDesc",
        "question": "Question",
        "value": "Data_Value",
        "category": "StratificationCategory1",
        "stratum": "Stratification1",
        "year": "YearStart",
        "weight": "Sample_Size",
    }
    assert "Data_Value_Alt" not in description.columns.value
    assert len(description.questions.better_low) == 5
    assert len(description.questions.better_high) == 4


def test_every_key_of_a_description_is_explained_in_the_shipped_one() -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    description = load_description(SHIPPED)
    for part in (description, description.columns, description.questions):
        for key in msgspec.structs.asdict(part):
            assert f"\n{key} = " in text or f"\n[{key}]" in text


REFUSED = {
    "no TOML": ("title = ", "is not TOML: Invalid value (at end of document)"),
    "a line that is no TOML": (
        'title = "x"\nlocation: place',
        "is not TOML: Expected '=' after a key in a key/value pair (at line 2, column 9)",
    ),
    "no title": (LEAST.replace('title = "Noise"', ""), "missing required field `title`"),
    "an empty title": (LEAST.replace("Noise", " "), "title: is empty"),
    "no columns": ('title = "x"', "missing required field `columns`"),
    "columns that are no table": (
        'title = "x"\ncolumns = "place"',
        "Expected `object`, got `str` - at `columns`",
    ),
    "a required role that is missing": (
        LEAST.replace("value = ", "year = "),
        "missing required field `value` - at `columns`",
    ),
    "an unknown key": (f"sauce = 1\n{LEAST}", "unknown field `sauce`"),
    "an unknown role": (f'{LEAST}state = "place"', "unknown field `state` - at `columns`"),
    "an unknown list of questions": (
        f'{LEAST}[questions]\nbetter = ["x"]',
        "unknown field `better` - at `questions`",
    ),
    "synonyms of a role that has none": (
        f'{LEAST}[synonyms]\nyear = [["x", "y"]]',
        "unknown field `year` - at `synonyms`",
    ),
    "a column name that is no text": (
        LEAST.replace('"place"', "7"),
        "Expected `array`, got `int` - at `columns.location`",
    ),
    "a list with something else than text": (
        LEAST.replace('"decibel"', "7"),
        "Expected `str`, got `int` - at `columns.value[1]`",
    ),
    "an empty list": (LEAST.replace('["kind"]', "[]"), "columns.question: the list is empty"),
    "an empty column name": (LEAST.replace("place", ""), "columns.location: '' names no column"),
    "a column name with spaces around": (
        LEAST.replace("place", "place "),
        "columns.location: 'place ' names no column",
    ),
    "a column for two roles": (
        LEAST.replace("kind", "decibel"),
        "columns.value: 'decibel' is in columns.question already",
    ),
    "a column name twice in a role": (
        LEAST.replace("decibel", "level"),
        "columns.value: 'level' is in columns.value already",
    ),
    "a category without a stratum": (
        f'{LEAST}category = "by"',
        "columns: category and stratum go together, and only one is there",
    ),
    "a stratum without a category": (
        f'{LEAST}stratum = "part"',
        "columns: category and stratum go together, and only one is there",
    ),
    "a question of both directions": (
        f'{LEAST}[questions]\nbetter_low = ["x", "y"]\nbetter_high = ["y"]',
        "questions.better_high: 'y' is in questions.better_low already",
    ),
    "a synonym of nothing": (
        f'{LEAST}[synonyms]\ncategory = [["Sex"]]',
        "synonyms.category: a group needs two names, not ('Sex',)",
    ),
    "a name in two groups of synonyms": (
        f'{LEAST}[synonyms]\ncategory = [["Sex", "Gender"], ["Gender", "Genus"]]',
        "synonyms.category, group 2: 'Gender' is in synonyms.category, group 1 already",
    ),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_description_is_refused_with_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    path = described(tmp_path, text)
    with pytest.raises(DescriptionError) as refusal:
        load_description(path)
    assert str(refusal.value).startswith(f"dataset description {path}: ")
    assert reason in str(refusal.value)


def test_a_description_that_cannot_be_read_is_refused_with_the_systems_reason(
    tmp_path: Path,
) -> None:
    with pytest.raises(DescriptionError, match=r"missing\.toml: No such file or directory"):
        load_description(tmp_path / "missing.toml")
    with pytest.raises(DescriptionError, match=r": Is a directory"):
        load_description(tmp_path)


def test_a_description_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes('title = "Lärm"'.encode("latin-1"))
    with pytest.raises(DescriptionError, match="is not UTF-8"):
        load_description(path)
