"""Writes data/sample.csv.gz: a survey table in which every figure is invented.

The table has the shape of the CDC's "Nutrition, Physical Activity, and Obesity" table: its
columns, questions, places and strata, the years in which a question was asked, and its
oddities. No figure comes from a survey: each is drawn here from a seeded generator, as a
level of the question plus effects of the place, the stratum and the year, plus noise.

The same seed gives the same table on every machine and Python version. So the only source
of chance is `Random.random`, the arithmetic is `+ - * /` and `sqrt` on floats, and floats
are never given to `sum`, whose rounding differs between versions.

    python -m tools.make_sample [--output data/sample.csv.gz] [--seed N]
"""

import argparse
import csv
import gzip
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

DEFAULT_SEED = 20112022
DEFAULT_OUTPUT = Path("data/sample.csv.gz")
DATASOURCE = "Invented sample figures, not survey results"

HEADER = (
    "YearStart,YearEnd,LocationAbbr,LocationDesc,Datasource,Class,Topic,Question,"
    "Data_Value_Unit,Data_Value_Type,Data_Value,Data_Value_Alt,"
    "Data_Value_Footnote_Symbol,Data_Value_Footnote,"
    "Low_Confidence_Limit,High_Confidence_Limit ,Sample_Size,"  # the space is the publisher's
    "Total,Age(years),Education,Gender,Income,Race/Ethnicity,GeoLocation,"
    "ClassID,TopicID,QuestionID,DataValueTypeID,LocationID,"
    "StratificationCategory1,Stratification1,StratificationCategoryId1,StratificationID1"
)
COLUMNS = tuple(HEADER.split(","))

Row = dict[str, str]
"""The filled columns of one line, by name; all others are empty."""


@dataclass(frozen=True, slots=True)
class Topic:
    """What a question belongs to: names and ids of its class and topic."""

    class_name: str
    class_id: str
    name: str
    id: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question, the years it was asked in, and where its invented figures start.

    `level` is a percentage; `lean` is how much of it an advantaged group adds (or, where
    negative, lacks) per unit of `Stratum.advantage`.
    """

    id: str
    topic: Topic
    years: range
    level: float
    lean: float
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """A location with its public identifiers; the whole nation has no point on the map."""

    id: str
    abbreviation: str
    name: str
    point: str


@dataclass(frozen=True, slots=True)
class Category:
    """A way to divide the people asked; `column` names the stratum a second time."""

    id: str
    name: str
    column: str


@dataclass(frozen=True, slots=True)
class Stratum:
    """One group of a category: its invented share of the people and its advantage."""

    id: str
    category: Category
    name: str
    share: float
    advantage: float = 0.0


ACTIVITY = Topic("Physical Activity", "PA", "Physical Activity - Behavior", "PA1")
WEIGHT = Topic("Obesity / Weight Status", "OWS", "Obesity / Weight Status", "OWS1")
FOOD = Topic("Fruits and Vegetables", "FV", "Fruits and Vegetables - Behavior", "FV1")

YEARS = range(2011, 2023)
EVERY_YEAR = YEARS
ODD_TO_2019 = range(2011, 2020, 2)
ODD_FROM_2017 = range(2017, 2022, 2)

QUESTIONS = (
    Question(
        "Q018",
        FOOD,
        ODD_FROM_2017,
        41,
        -2.0,
        "Percent of adults who report consuming fruit less than one time daily",
    ),
    Question(
        "Q019",
        FOOD,
        ODD_FROM_2017,
        22,
        -2.5,
        "Percent of adults who report consuming vegetables less than one time daily",
    ),
    Question(
        "Q036",
        WEIGHT,
        EVERY_YEAR,
        33,
        -2.0,
        "Percent of adults aged 18 years and older who have obesity",
    ),
    Question(
        "Q037",
        WEIGHT,
        EVERY_YEAR,
        36,
        1.0,
        "Percent of adults aged 18 years and older who have an overweight classification",
    ),
    Question(
        "Q043",
        ACTIVITY,
        ODD_TO_2019,
        49,
        3.5,
        "Percent of adults who achieve at least 150 minutes a week of moderate-intensity "
        "aerobic physical activity or 75 minutes a week of vigorous-intensity aerobic activity "
        "(or an equivalent combination)",
    ),
    Question(
        "Q044",
        ACTIVITY,
        ODD_TO_2019,
        22,
        2.5,
        "Percent of adults who achieve at least 150 minutes a week of moderate-intensity "
        "aerobic physical activity or 75 minutes a week of vigorous-intensity aerobic physical "
        "activity and engage in muscle-strengthening activities on 2 or more days a week",
    ),
    Question(
        "Q045",
        ACTIVITY,
        ODD_TO_2019,
        30,
        2.0,
        "Percent of adults who achieve at least 300 minutes a week of moderate-intensity "
        "aerobic physical activity or 150 minutes a week of vigorous-intensity aerobic activity "
        "(or an equivalent combination)",
    ),
    Question(
        "Q046",
        ACTIVITY,
        ODD_TO_2019,
        32,
        2.5,
        "Percent of adults who engage in muscle-strengthening activities on 2 or more days a week",
    ),
    Question(
        "Q047",
        ACTIVITY,
        EVERY_YEAR,
        26,
        -4.0,
        "Percent of adults who engage in no leisure-time physical activity",
    ),
)

PLACES = (
    Place("01", "AL", "Alabama", "(32.840571122, -86.631860762)"),
    Place("02", "AK", "Alaska", "(64.845079957001, -147.722059036)"),
    Place("04", "AZ", "Arizona", "(34.86597028, -111.763811277)"),
    Place("05", "AR", "Arkansas", "(34.748650124, -92.274490743)"),
    Place("06", "CA", "California", "(37.638640123, -120.999999538)"),
    Place("08", "CO", "Colorado", "(38.843840757, -106.133610921)"),
    Place("09", "CT", "Connecticut", "(41.56266102, -72.649840952)"),
    Place("10", "DE", "Delaware", "(39.008830667, -75.577741168)"),
    Place("11", "DC", "District of Columbia", "(38.890371385, -77.031961127)"),
    Place("12", "FL", "Florida", "(28.932040377, -81.928960539)"),
    Place("13", "GA", "Georgia", "(32.839681093, -83.627580346)"),
    Place("15", "HI", "Hawaii", "(21.304850435, -157.857749403)"),
    Place("16", "ID", "Idaho", "(43.682630005, -114.363730042)"),
    Place("17", "IL", "Illinois", "(40.485010283, -88.997710178)"),
    Place("18", "IN", "Indiana", "(39.766910452, -86.149960194)"),
    Place("19", "IA", "Iowa", "(42.469400913, -93.816490556)"),
    Place("20", "KS", "Kansas", "(38.3477403, -98.200781227)"),
    Place("21", "KY", "Kentucky", "(37.645970271, -84.774971048)"),
    Place("22", "LA", "Louisiana", "(31.312660644, -92.445680071)"),
    Place("23", "ME", "Maine", "(45.254228894001, -68.985031336)"),
    Place("24", "MD", "Maryland", "(39.290580964, -76.609260111)"),
    Place("25", "MA", "Massachusetts", "(42.27687047, -72.082690675)"),
    Place("26", "MI", "Michigan", "(44.661319543001, -84.71439027)"),
    Place("27", "MN", "Minnesota", "(46.355648736, -94.794200503)"),
    Place("28", "MS", "Mississippi", "(32.745510099, -89.538030825)"),
    Place("29", "MO", "Missouri", "(38.635790776, -92.566300053)"),
    Place("30", "MT", "Montana", "(47.066528972, -109.424420645)"),
    Place("31", "NE", "Nebraska", "(41.641040988001, -99.365720623)"),
    Place("32", "NV", "Nevada", "(39.49324039, -117.071840564)"),
    Place("33", "NH", "New Hampshire", "(43.655950113, -71.50036092)"),
    Place("34", "NJ", "New Jersey", "(40.130570048, -74.273691288)"),
    Place("35", "NM", "New Mexico", "(34.520880952, -106.240580985)"),
    Place("36", "NY", "New York", "(42.827001032, -75.543970427)"),
    Place("37", "NC", "North Carolina", "(35.466220975, -79.159250463)"),
    Place("38", "ND", "North Dakota", "(47.475319779, -100.118421049)"),
    Place("39", "OH", "Ohio", "(40.060210141, -82.404260056)"),
    Place("40", "OK", "Oklahoma", "(35.472031356, -97.521070214)"),
    Place("41", "OR", "Oregon", "(44.567449424, -120.155031326)"),
    Place("42", "PA", "Pennsylvania", "(40.793730152, -77.860700294)"),
    Place("44", "RI", "Rhode Island", "(41.708280193, -71.522470314)"),
    Place("45", "SC", "South Carolina", "(33.998821303, -81.045371207)"),
    Place("46", "SD", "South Dakota", "(44.353130053, -100.373530637)"),
    Place("47", "TN", "Tennessee", "(35.68094058, -85.774490914)"),
    Place("48", "TX", "Texas", "(31.827240407, -99.426770206)"),
    Place("49", "UT", "Utah", "(39.360700171, -111.587130635)"),
    Place("50", "VT", "Vermont", "(43.625381239, -72.517640791)"),
    Place("51", "VA", "Virginia", "(37.542680674, -78.457890463)"),
    Place("53", "WA", "Washington", "(47.522278629, -120.47001079)"),
    Place("54", "WV", "West Virginia", "(38.665510202, -80.712640135)"),
    Place("55", "WI", "Wisconsin", "(44.393191174, -89.816370742)"),
    Place("56", "WY", "Wyoming", "(43.235541343, -108.109830353)"),
    Place("59", "US", "National", ""),
    Place("66", "GU", "Guam", "(13.444304, 144.793731)"),
    Place("72", "PR", "Puerto Rico", "(18.220833, -66.590149)"),
    Place("78", "VI", "Virgin Islands", "(18.335765, -64.896335)"),
)

NATION = "US"
TERRITORIES = frozenset({"GU", "PR", "VI"})

TOTAL = Category("OVR", "Total", "Total")
AGE = Category("AGEYR", "Age (years)", "Age(years)")
EDUCATION = Category("EDU", "Education", "Education")
GENDER = Category("GEN", "Gender", "Gender")
INCOME = Category("INC", "Income", "Income")
RACE = Category("RACE", "Race/Ethnicity", "Race/Ethnicity")

STRATA = (
    Stratum("OVERALL", TOTAL, "Total", 1.0),
    Stratum("AGEYR1824", AGE, "18 - 24", 0.07, 1.5),
    Stratum("AGEYR2534", AGE, "25 - 34", 0.12, 0.5),
    Stratum("AGEYR3544", AGE, "35 - 44", 0.14),
    Stratum("AGEYR4554", AGE, "45 - 54", 0.17, -0.5),
    Stratum("AGEYR5564", AGE, "55 - 64", 0.2, -0.5),
    Stratum("AGEYR65PLUS", AGE, "65 or older", 0.3, -1.0),
    Stratum("EDUHS", EDUCATION, "Less than high school", 0.1, -2.5),
    Stratum("EDUHSGRAD", EDUCATION, "High school graduate", 0.3, -1.0),
    Stratum("EDUCOTEC", EDUCATION, "Some college or technical school", 0.25),
    Stratum("EDUCOGRAD", EDUCATION, "College graduate", 0.35, 2.5),
    Stratum("FEMALE", GENDER, "Female", 0.55, -0.5),
    Stratum("MALE", GENDER, "Male", 0.45, 0.5),
    Stratum("INCLESS15", INCOME, "Less than $15,000", 0.1, -2.5),
    Stratum("INC1525", INCOME, "$15,000 - $24,999", 0.15, -1.5),
    Stratum("INC2535", INCOME, "$25,000 - $34,999", 0.1, -1.0),
    Stratum("INC3550", INCOME, "$35,000 - $49,999", 0.13),
    Stratum("INC5075", INCOME, "$50,000 - $74,999", 0.15, 1.0),
    Stratum("INC75PLUS", INCOME, "$75,000 or greater", 0.25, 2.5),
    Stratum("INCNR", INCOME, "Data not reported", 0.12, -0.5),
    Stratum("RACE2PLUS", RACE, "2 or more races", 0.012),
    Stratum("RACENAA", RACE, "American Indian/Alaska Native", 0.01),
    Stratum("RACEASN", RACE, "Asian", 0.012),
    Stratum("RACEHPI", RACE, "Hawaiian/Pacific Islander", 0.0015),
    Stratum("RACEHIS", RACE, "Hispanic", 0.055),
    Stratum("RACEBLK", RACE, "Non-Hispanic Black", 0.055),
    Stratum("RACEWHT", RACE, "Non-Hispanic White", 0.75),
    Stratum("RACEOTH", RACE, "Other", 0.004),
)

ABSENT = frozenset(
    [("GU", year) for year in (2011, 2012, 2013)]
    + [("PR", year) for year in (2011, 2012)]
    + [("VI", year) for year in (2011, 2012, 2013, 2014, 2015, 2019, 2020)]
)
"""The places and years without any row."""

UNDIVIDED = ("NJ", 2019)
"""The place and year with one row a question, without stratum or value."""

NOT_ASKED = frozenset({("Q019", "GU"), ("Q044", "VI"), ("Q045", "PR"), ("Q046", "VI")})
"""The questions that a place never asked."""

DRAWN_ROWS = 29.5
"""Rows drawn for a question in a place, on average, beside those of the Total stratum."""

FEWEST_ANSWERS = 50
"""Below this sample size a value is suppressed."""

DESIGN_EFFECT = 2.0
"""How many times the variance of a simple random sample a figure has."""

SUPPRESSED = "Data not available because sample size is insufficient."
NO_DIVISION = 'Too few answers were "usable", so there is no value, and no stratum either.'


@dataclass(frozen=True, slots=True)
class Effects:
    """What was invented before the first row, in percentage points unless said otherwise.

    `place` and `stratum` are by question id and the other's id, `slope` is points a year
    by question id, `interviews` is people asked a year by place id, `mix` multiplies the
    share of a stratum in a place, by their ids.
    """

    place: dict[tuple[str, str], float]
    stratum: dict[tuple[str, str], float]
    slope: dict[str, float]
    interviews: dict[str, float]
    mix: dict[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a figure belongs: one question, place, year and stratum (None: undivided)."""

    question: Question
    place: Place
    year: int
    stratum: Stratum | None


def sample_csv(seed: int) -> bytes:
    """The table as CSV in UTF-8 with `\\n` line ends: the same bytes for the same seed."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(sample_rows(Random(seed)))
    return text.getvalue().encode()


def sample_rows(random: Random) -> list[Row]:
    """About 18,000 rows in scrambled order, about a tenth of them without a value."""
    effects = invent_effects(random)
    cells = list(drawn_cells(random))
    rows = [fill(cell, effects, random) for cell in cells]
    rows.sort(key=lambda _: random.random())
    return rows


def invent_effects(random: Random) -> Effects:
    return Effects(
        place={(q.id, p.id): 4.5 * swing(random) for q in QUESTIONS for p in PLACES},
        stratum={(q.id, s.id): stratum_effect(q, s, random) for q in QUESTIONS for s in STRATA},
        slope={q.id: 0.35 * swing(random) for q in QUESTIONS},
        interviews={p.id: interviews(p, random) for p in PLACES},
        mix={(p.id, s.id): mix(p, s, random) for p in PLACES for s in STRATA},
    )


def stratum_effect(question: Question, stratum: Stratum, random: Random) -> float:
    own = 2.0 * swing(random)
    return 0.0 if stratum.category is TOTAL else question.lean * stratum.advantage + own


def interviews(place: Place, random: Random) -> float:
    chance = random.random()
    if place.abbreviation == NATION:
        return 350_000.0
    if place.abbreviation in TERRITORIES:
        return 1_500.0 + 2_500.0 * chance
    return 3_500.0 + 11_000.0 * chance * chance


def mix(place: Place, stratum: Stratum, random: Random) -> float:
    """Around 1; for race and ethnicity in a single place anything from 0.1 to 4."""
    chance = random.random()
    if stratum.category is RACE and place.abbreviation != NATION:
        return 0.1 + 3.9 * chance * chance if stratum.share < 0.5 else 0.4 + 0.85 * chance
    return 1.0 if stratum.category is TOTAL else 0.8 + 0.4 * chance


def drawn_cells(random: Random) -> Iterator[Cell]:
    """All undivided and Total cells, and of the others an equal number for every question."""
    for question in QUESTIONS:
        for place in PLACES:
            cells = list(asked_cells(question, place))
            chance = DRAWN_ROWS / max(1, sum(not always_drawn(cell) for cell in cells))
            for cell in cells:
                if random.random() < chance or always_drawn(cell):
                    yield cell


def always_drawn(cell: Cell) -> bool:
    return cell.stratum is None or cell.stratum.category is TOTAL


def asked_cells(question: Question, place: Place) -> Iterator[Cell]:
    """Everything the whole table would hold of a question in a place."""
    if (question.id, place.abbreviation) in NOT_ASKED:
        return
    for year in question.years:
        if (place.abbreviation, year) == UNDIVIDED:
            yield Cell(question, place, year, None)
        elif (place.abbreviation, year) not in ABSENT:
            yield from (Cell(question, place, year, stratum) for stratum in STRATA)


def fill(cell: Cell, effects: Effects, random: Random) -> Row:
    row = naming(cell)
    if cell.stratum is None:
        return row | footnote(NO_DIVISION)
    return row | division(cell.stratum) | figures(cell, cell.stratum, effects, random)


def naming(cell: Cell) -> Row:
    """The columns that say what was asked, where and when."""
    question, place = cell.question, cell.place
    return {
        "YearStart": str(cell.year),
        "YearEnd": str(cell.year),
        "LocationAbbr": place.abbreviation,
        "LocationDesc": place.name,
        "Datasource": DATASOURCE,
        "Class": question.topic.class_name,
        "Topic": question.topic.name,
        "Question": question.text,
        "Data_Value_Type": "Value",
        "GeoLocation": place.point,
        "ClassID": question.topic.class_id,
        "TopicID": question.topic.id,
        "QuestionID": question.id,
        "DataValueTypeID": "VALUE",
        "LocationID": place.id,
    }


def division(stratum: Stratum) -> Row:
    """The columns that say which people the figure is about."""
    return {
        stratum.category.column: stratum.name,
        "StratificationCategory1": stratum.category.name,
        "Stratification1": stratum.name,
        "StratificationCategoryId1": stratum.category.id,
        "StratificationID1": stratum.id,
    }


def figures(cell: Cell, stratum: Stratum, effects: Effects, random: Random) -> Row:
    """Value, limits and sample size, or the footnote where too few people were asked."""
    answers = sample_size(cell, stratum, effects, random)
    noise = bell(random)
    if answers < FEWEST_ANSWERS:
        return footnote(SUPPRESSED)
    expected = expected_percent(cell, stratum, effects)
    error = math.sqrt(expected * (100.0 - expected) * DESIGN_EFFECT / answers)
    tenths = min(990, max(10, round(10.0 * (expected + error * noise))))
    margin = max(1, round(19.6 * error))
    return {
        "Data_Value": percent(tenths),
        "Data_Value_Alt": percent(tenths),
        "Low_Confidence_Limit": percent(max(1, tenths - margin)),
        "High_Confidence_Limit ": percent(min(999, tenths + margin)),
        "Sample_Size": str(answers),
    }


def sample_size(cell: Cell, stratum: Stratum, effects: Effects, random: Random) -> int:
    asked = effects.interviews[cell.place.id] * (0.85 + 0.3 * random.random())
    return round(asked * stratum.share * effects.mix[cell.place.id, stratum.id])


def expected_percent(cell: Cell, stratum: Stratum, effects: Effects) -> float:
    """The figure before noise, between 4 and 90."""
    question = cell.question
    trend = effects.slope[question.id] * (cell.year - 2016)
    place = effects.place[question.id, cell.place.id]
    return min(
        90.0, max(4.0, question.level + place + trend + effects.stratum[question.id, stratum.id])
    )


def footnote(text: str) -> Row:
    return {"Data_Value_Footnote_Symbol": "~", "Data_Value_Footnote": text}


def percent(tenths: int) -> str:
    return f"{tenths // 10}.{tenths % 10}"


def swing(random: Random) -> float:
    """Even between -1 and 1."""
    return 2.0 * random.random() - 1.0


def bell(random: Random) -> float:
    """Roughly normal with variance 1, and never beyond 3."""
    return 2.0 * (random.random() + random.random() + random.random()) - 3.0


def write_sample(output: Path, seed: int) -> int:
    """Put the table of `seed` at `output`, gzipped, and return its rows.

    `output` is replaced as a whole: a reader sees the old file or the new one. The content
    depends on the seed alone; how tightly it is packed may differ with the zlib at hand.
    """
    content = sample_csv(seed)
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_name(f"{output.name}.part")
    with (
        part.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=file, mtime=0) as packed,
    ):
        packed.write(content)
    part.replace(output)
    return content.count(b"\n") - 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.make_sample",
        description="Write a survey table in which every figure is invented.",
    )
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="%(default)s")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="%(default)s")
    options = parser.parse_args(arguments)
    rows = write_sample(options.output, options.seed)
    size = options.output.stat().st_size
    print(f"{options.output}: {rows:,} invented rows from seed {options.seed}, {size:,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
