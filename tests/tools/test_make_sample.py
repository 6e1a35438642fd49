"""The shipped sample: made by the generator, shaped like the real table, and invented."""

import csv
import gzip
import io
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from tools.make_sample import (
    ABSENT,
    COLUMNS,
    DEFAULT_SEED,
    NOT_ASKED,
    PLACES,
    QUESTIONS,
    STRATA,
    UNDIVIDED,
    YEARS,
    main,
    sample_csv,
)

SHIPPED = Path(__file__).parents[2] / "data" / "sample.csv.gz"
REAL_DATA = "SPORTIV_TEST_DATA"
REAL_NAME = "cdc_brfss_2011_2021.csv.gz"
HIGH = "High_Confidence_Limit "
FIGURES = ("Data_Value", "Data_Value_Alt", "Low_Confidence_Limit", HIGH, "Sample_Size")
DIVISION = (
    "StratificationCategory1",
    "Stratification1",
    "StratificationCategoryId1",
    "StratificationID1",
)
VOCABULARIES = (
    ("QuestionID", "Question", "ClassID", "Class", "TopicID", "Topic"),
    ("LocationID", "LocationAbbr", "LocationDesc"),
    DIVISION,
    ("Data_Value_Unit", "Data_Value_Type", "DataValueTypeID"),
    ("Data_Value_Footnote_Symbol",),
)

Row = dict[str, str]
Key = tuple[str, ...]


def read(content: bytes) -> list[Row]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True))


@pytest.fixture(scope="module")
def made() -> bytes:
    return sample_csv(DEFAULT_SEED)


@pytest.fixture(scope="module")
def rows(made: bytes) -> list[Row]:
    return read(made)


@pytest.fixture(scope="module")
def valued(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["Data_Value"]]


@pytest.fixture(scope="module")
def real() -> list[Row]:
    folder = os.environ.get(REAL_DATA)
    if not folder:
        pytest.skip(f"{REAL_DATA} names no folder with {REAL_NAME} to compare with")
    with gzip.open(Path(folder) / REAL_NAME, "rt", encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def distinct(rows: Sequence[Row], columns: Sequence[str]) -> set[Key]:
    return {tuple(row[column] for column in columns) for row in rows}


def values(rows: Sequence[Row]) -> dict[Key, str]:
    """The values that are there, by question, place, year and stratum."""
    place = ("QuestionID", "LocationAbbr", "YearStart", "StratificationID1")
    return {
        tuple(row[name] for name in place): row["Data_Value"] for row in rows if row["Data_Value"]
    }


def equal_share(pairs: Sequence[tuple[str, str]]) -> float:
    return sum(one == other for one, other in pairs) / len(pairs)


def test_the_shipped_file_is_what_the_generator_makes(made: bytes) -> None:
    assert gzip.decompress(SHIPPED.read_bytes()) == made


def test_the_shipped_file_is_small_and_tells_no_time_or_name() -> None:
    packed = SHIPPED.read_bytes()
    assert len(packed) < 700_000
    assert packed[3] == 0, "flags: no name inside"
    assert packed[4:8] == bytes(4), "no time inside"


def test_another_seed_gives_other_figures_of_the_same_shape(rows: list[Row]) -> None:
    other = read(sample_csv(DEFAULT_SEED + 1))
    assert 17_500 <= len(other) <= 18_700
    ours, theirs = values(rows), values(other)
    common = [(ours[key], theirs[key]) for key in ours.keys() & theirs.keys()]
    assert len(common) > 1_000
    assert equal_share(common) < 0.05
    for columns in VOCABULARIES:
        assert distinct(other, columns) == distinct(rows, columns)


def test_the_command_writes_the_same_file_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "new" / "first.csv.gz", tmp_path / "new" / "second.csv.gz"
    for output in (first, second):
        assert main(["--output", str(output), "--seed", "5"]) == 0
        assert f"{output}: 17," in capsys.readouterr().out
    assert first.read_bytes() == second.read_bytes()
    assert sorted(first.parent.iterdir()) == [first, second]


def test_the_header_has_the_33_columns_of_the_publisher(made: bytes) -> None:
    header = made.decode().split("\n", 1)[0]
    assert header == ",".join(COLUMNS)
    assert len(set(COLUMNS)) == 33
    assert HIGH in COLUMNS
    assert "Gender" in COLUMNS


def test_every_row_says_that_it_is_invented(rows: list[Row]) -> None:
    assert distinct(rows, ["Datasource"]) == {("Invented sample figures, not survey results",)}


def test_there_are_about_18_000_rows(rows: list[Row]) -> None:
    assert 17_500 <= len(rows) <= 18_700


def test_about_a_tenth_has_no_value(rows: list[Row], valued: list[Row]) -> None:
    assert 0.08 < 1 - len(valued) / len(rows) < 0.12


def test_no_figure_is_given_twice(rows: list[Row]) -> None:
    places = ("QuestionID", "LocationAbbr", "YearStart", "StratificationID1")
    assert len(distinct(rows, places)) == len(rows)


def test_questions_places_and_strata_are_complete(rows: list[Row]) -> None:
    assert len(distinct(rows, ["Question"])) == len(QUESTIONS) == 9
    assert len(distinct(rows, ["LocationDesc"])) == len(PLACES) == 55
    assert len(distinct(rows, ["Stratification1"]) - {("",)}) == len(STRATA) == 28
    assert distinct(rows, ["YearStart"]) == {(str(year),) for year in YEARS}


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("Question", ["QuestionID", "Class", "ClassID", "Topic", "TopicID"]),
        ("LocationDesc", ["LocationAbbr", "LocationID", "GeoLocation"]),
        ("StratificationCategory1", ["StratificationCategoryId1"]),
        ("Stratification1", [*DIVISION]),
    ],
)
def test_a_name_always_has_the_same_ids(rows: list[Row], name: str, others: list[str]) -> None:
    assert len(distinct(rows, [name])) == len(distinct(rows, [name, *others]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Question", "QuestionID"),
        ("Class", "ClassID"),
        ("Topic", "TopicID"),
        ("LocationDesc", "LocationAbbr"),
        ("LocationDesc", "LocationID"),
        ("LocationDesc", "GeoLocation"),
        ("StratificationCategory1", "StratificationCategoryId1"),
        ("Stratification1", "StratificationID1"),
    ],
)
def test_an_id_names_one_thing(rows: list[Row], one: str, other: str) -> None:
    assert len(distinct(rows, [one])) == len(distinct(rows, [other]))


def test_only_the_nation_has_no_point_on_the_map(rows: list[Row]) -> None:
    nowhere = [row for row in rows if not row["GeoLocation"]]
    assert distinct(nowhere, ["LocationAbbr", "LocationDesc"]) == {("US", "National")}


def test_every_row_is_of_one_year(rows: list[Row]) -> None:
    assert all(row["YearStart"] == row["YearEnd"] for row in rows)


def test_questions_keep_to_their_years(rows: list[Row]) -> None:
    asked = defaultdict(set)
    for row in rows:
        asked[row["QuestionID"]].add(int(row["YearStart"]))
    assert asked == {question.id: set(question.years) for question in QUESTIONS}
    assert len({frozenset(years) for years in asked.values()}) == 3


def test_some_questions_are_asked_in_odd_years_only(rows: list[Row]) -> None:
    even = {row["QuestionID"] for row in rows if int(row["YearStart"]) % 2 == 0}
    assert even == {"Q036", "Q037", "Q047"}


def test_a_stratum_stands_in_the_column_of_its_category_only(rows: list[Row]) -> None:
    columns = {stratum.category.column for stratum in STRATA}
    for row in rows:
        filled = [row[column] for column in columns if row[column]]
        assert filled == ([row["Stratification1"]] if row["Stratification1"] else [])


def test_territories_are_missing_in_some_years(rows: list[Row]) -> None:
    there = distinct(rows, ["LocationAbbr", "YearStart"])
    absent = {(place, str(year)) for place, year in ABSENT}
    assert {place for place, _ in absent} == {"GU", "PR", "VI"}
    assert there == {(p.abbreviation, str(year)) for p in PLACES for year in YEARS} - absent


def test_some_questions_were_not_asked_somewhere(rows: list[Row]) -> None:
    everything = {(q.id, p.abbreviation) for q in QUESTIONS for p in PLACES}
    assert everything - distinct(rows, ["QuestionID", "LocationAbbr"]) == NOT_ASKED
    assert NOT_ASKED


def test_a_handful_of_rows_has_no_stratum_and_no_value(rows: list[Row]) -> None:
    undivided = [row for row in rows if not any(row[column] for column in DIVISION)]
    assert all(row["Data_Value"] == "" for row in undivided)
    assert distinct(undivided, ["LocationAbbr", "YearStart"]) == {("NJ", str(UNDIVIDED[1]))}
    assert 5 <= len(undivided) <= 9
    assert sum(not row["Stratification1"] for row in rows) == len(undivided)


def test_a_row_without_value_has_a_footnote_and_no_figure(rows: list[Row]) -> None:
    for row in rows:
        note = (row["Data_Value_Footnote_Symbol"], bool(row["Data_Value_Footnote"]))
        if row["Data_Value"]:
            assert note == ("", False)
            assert all(row[column] for column in FIGURES)
        else:
            assert note == ("~", True)
            assert not any(row[column] for column in FIGURES)


def test_suppressed_values_are_those_of_small_groups(rows: list[Row], valued: list[Row]) -> None:
    missing = Counter(row["StratificationCategory1"] for row in rows if not row["Data_Value"])
    assert missing["Race/Ethnicity"] > 0.95 * missing.total()
    assert min(int(row["Sample_Size"]) for row in valued) >= 50


def test_text_with_commas_and_with_quotes_is_there(made: bytes, rows: list[Row]) -> None:
    texts = {text for row in rows for text in row.values()}
    assert any('"' in text for text in texts)
    assert {"Less than $15,000", "(13.444304, 144.793731)"} <= texts
    assert b'""' in made


def test_values_are_percentages_with_one_decimal_within_their_limits(valued: list[Row]) -> None:
    for row in valued:
        low, value, high = (row[name] for name in ("Low_Confidence_Limit", "Data_Value", HIGH))
        assert all(len(text.rpartition(".")[2]) == 1 for text in (low, value, high))
        assert 0 < float(low) < float(value) < float(high) < 100
        assert row["Data_Value_Alt"] == value


def test_limits_are_as_wide_as_the_sample_size_makes_them(valued: list[Row]) -> None:
    """The variance is 2 times that of a simple sample, where rounding leaves that visible."""
    for row in valued:
        percent, answers = float(row["Data_Value"]), int(row["Sample_Size"])
        margin = float(row[HIGH]) - percent
        if margin > 2 and 15 < percent < 85 and answers > 300:
            effect = (margin / 1.96) ** 2 * answers / (percent * (100 - percent))
            assert 1.3 < effect < 2.9, row


def test_nearly_every_question_and_place_has_several_values(valued: list[Row]) -> None:
    counts = Counter((row["QuestionID"], row["LocationAbbr"]) for row in valued)
    assert len(counts) == 9 * 55 - len(NOT_ASKED)
    assert min(counts.values()) >= 10
    places = Counter(question for question, _ in counts)
    assert min(places[question.id] for question in QUESTIONS) >= 50


def test_the_total_is_there_wherever_a_question_was_asked(valued: list[Row]) -> None:
    totals = [row for row in valued if row["Stratification1"] == "Total"]
    asked = {(q.id, p.abbreviation, year) for q in QUESTIONS for p in PLACES for year in q.years}
    expected = {
        (question, place, year)
        for question, place, year in asked
        if (question, place) not in NOT_ASKED
        and (place, year) not in ABSENT
        and (place, year) != UNDIVIDED
    }
    assert len(totals) == len(expected)


def test_values_differ_between_places_strata_and_questions(valued: list[Row]) -> None:
    for column in ("LocationAbbr", "Stratification1", "QuestionID"):
        groups = defaultdict(list)
        for row in valued:
            if column == "QuestionID" or row["QuestionID"] == "Q047":
                groups[row[column]].append(float(row["Data_Value"]))
        means = [sum(group) / len(group) for group in groups.values()]
        assert max(means) - min(means) > 5


def test_rows_stand_in_no_order(rows: list[Row]) -> None:
    for column in ("QuestionID", "LocationAbbr", "YearStart"):
        rising = sum(one[column] <= other[column] for one, other in pairwise(rows))
        assert 0.4 < rising / len(rows) < 0.75


def test_the_header_is_that_of_the_real_table(real: list[Row]) -> None:
    assert list(real[0]) == list(COLUMNS)


@pytest.mark.parametrize("columns", VOCABULARIES, ids=lambda columns: str(columns[0]))
def test_the_vocabulary_is_that_of_the_real_table(
    rows: list[Row], real: list[Row], columns: Key
) -> None:
    assert distinct(rows, columns) == distinct(real, columns)


def test_points_on_the_map_are_those_of_the_real_table(rows: list[Row], real: list[Row]) -> None:
    columns = ("LocationAbbr", "GeoLocation")
    assert distinct(rows, columns) <= distinct(real, columns)


def test_no_figure_is_copied_from_the_real_table(rows: list[Row], real: list[Row]) -> None:
    """Values agree with the real ones no more often than with those of another place."""
    ours, theirs = values(rows), values(real)
    keys = sorted(ours.keys() & theirs.keys())
    assert len(keys) > 10_000
    same = equal_share([(ours[key], theirs[key]) for key in keys])
    elsewhere = equal_share([(ours[key], theirs[other]) for key, other in rotated(keys)])
    assert same < 0.03
    assert abs(same - elsewhere) < 0.01


def rotated(keys: Sequence[Key]) -> Iterator[tuple[Key, Key]]:
    """Each key with that of a like figure: the same question, most often another place."""
    by_question = defaultdict(list)
    for key in keys:
        by_question[key[0]].append(key)
    for group in by_question.values():
        yield from zip(group, group[40:] + group[:40], strict=True)
