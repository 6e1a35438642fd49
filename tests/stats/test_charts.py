"""Each answer has a picture that Vega can draw, with its figures in it; or none, and no error."""

import json
import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
import vl_convert
from hypothesis import given
from hypothesis import strategies as st

from server.stats import STATISTICS, chart
from server.stats.charts import chart_of
from server.stats.statistic import QuestionRequest, Statistic
from server.table import Table
from tests.support import answers
from tests.support.real_tables import loaded_table
from tests.support.servers import ROOT
from tests.support.tables import Row, table_of

QUESTION = "Percent who run"
SMALL = {"n_resamples": 50, "n_permutations": 50, "seed": 1, "other_question": "Percent who sit"}
BY_GROUP = [name for name, each in STATISTICS.items() if "by" in each.request.__struct_fields__]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
AROUND = ("axis", "legend", "title", "subtitle")
LABEL = re.compile(r"(?:^|; )group: ([^;]*)")


def sample() -> Table:
    return loaded_table(ROOT / "data" / "sample.csv.gz")


def asked(table: Table, name: str, **fields: Any) -> tuple[Any, Any]:
    """The answer to a request, and the picture of it."""
    statistic = STATISTICS[name]
    known = {key: fields[key] for key in statistic.request.__struct_fields__ if key in fields}
    data = answers.answer(statistic, table, msgspec.convert(known, statistic.request))
    return data, chart_of(statistic, known, data)


class Drawn:
    """A picture as SVG: what it says, and what its marks are said to be."""

    def __init__(self, spec: Any) -> None:
        assert spec["data"]["name"] == "answer"
        assert spec["background"] is None
        assert spec["description"]
        width = {"width": 600} if spec.get("width") == "container" else {}
        svg = vl_convert.vegalite_to_svg(spec | width)
        elements = list(ElementTree.fromstring(svg).iter())
        self.values = spec["data"]["values"]
        self.text = " ".join("".join(each.itertext()) for each in elements[:1])
        self.marks = [
            each.attrib["aria-label"]
            for each in elements
            if "aria-label" in each.attrib
            and each.get("role") == "graphics-symbol"
            and not each.get("aria-roledescription", "").startswith(AROUND)
        ]

    def groups(self) -> set[str]:
        """Which groups have a mark."""
        return {match[1] for each in self.marks if (match := LABEL.search(each))}


def rows_of(states: Sequence[str], question: str = QUESTION) -> list[Row]:
    """Some figures of each state, in two strata and three years."""
    return [
        Row(
            question,
            state,
            "Sex",
            sex,
            2011 + year,
            20.0 + len(state) + 3 * year + (sex < "G"),
            2.0,
        )
        for state in states
        for sex in ("Female", "Male")
        for year in range(3)
    ]


def two_questions(states: Sequence[str]) -> Table:
    return table_of([*rows_of(states), *rows_of(states, "Percent who sit")])


# -- every statistic ------------------------------------------------------------------


@pytest.mark.parametrize("name", STATISTICS)
def test_the_picture_of_each_example_shows_its_figures(name: str) -> None:
    example = dict(STATISTICS[name].example)
    _, spec = asked(sample(), name, **example)
    drawn = Drawn(spec)
    assert len(drawn.marks) >= len(drawn.values) >= 1
    words = example["question"].split()
    assert all(word in drawn.text for word in words)
    assert STATISTICS[name].summary in spec["description"]
    assert json.loads(json.dumps(spec)) == spec


@pytest.mark.parametrize("name", BY_GROUP)
@pytest.mark.parametrize("states", [["Ohio"], [f"State {n:02}" for n in range(55)]], ids=len)
def test_each_group_is_drawn_be_it_one_or_many(name: str, states: list[str]) -> None:
    if name == "pairwise_permutation_test":
        states = states[:20]
    fields = {**SMALL, "question": QUESTION, "by": "state"}
    _, spec = asked(two_questions(states), name, **fields)
    if name == "pairwise_permutation_test" and len(states) == 1:
        assert spec is None
        return
    drawn = Drawn(spec)
    said = drawn.text + " ".join(drawn.marks)
    assert all(state in said for state in states)


@pytest.mark.parametrize("name", STATISTICS)
def test_an_answer_about_no_row_has_a_picture_without_marks_or_none(name: str) -> None:
    rows = [Row(QUESTION, state, None, None, 2011, None) for state in ("Ohio", "Utah")]
    rows += [Row("Percent who sit", "Iowa", "Sex", sex, 2011, 1.0) for sex in ("Female", "Male")]
    fields = {**SMALL, "question": QUESTION, "state": "Ohio", "states": ["Ohio", "Utah"]}
    _, spec = asked(table_of(rows), name, **fields)
    if spec is not None:
        drawn = Drawn(spec)
        assert "nan" not in drawn.text.lower()
        assert "undefined" not in drawn.text


def test_a_figure_that_is_undefined_leaves_its_place_empty() -> None:
    data = {"Ohio": 3.0, "Utah": None, "Iowa": 0.0}
    drawn = Drawn(chart_of(STATISTICS["states_mean"], {"question": QUESTION}, data))
    assert all(state in drawn.text for state in data)
    assert {"Ohio", "Iowa"} <= drawn.groups()


def test_names_are_text_whatever_they_hold() -> None:
    names = ['"quoted"', "<b>&amp;", "a.b[0]", "Åland, ✓", "datum.mean", "x\\y", "a; b: c", "'"]
    data = {name: float(place) for place, name in enumerate(names, 1)}
    drawn = Drawn(chart_of(STATISTICS["states_mean"], {"question": "<script>1</script>"}, data))
    assert len(drawn.marks) == len(names)
    assert all(name in drawn.text for name in names)


# -- what each shows ------------------------------------------------------------------


def test_bars_stand_in_the_order_of_the_answer_with_all_digits() -> None:
    data, spec = asked(sample(), "best5", **STATISTICS["best5"].example)
    assert spec["data"]["values"] == [
        {"label": state, "state": state, "mean": mean} for state, mean in data.items()
    ]
    said = [f"mean: {mean:.2f}; group: {state}" for state, mean in data.items()]
    assert [re.sub(r"0(?=;)", "", each) for each in said] == Drawn(spec).marks


def test_differences_are_ranked_and_coloured_by_their_sign() -> None:
    data = {"Iowa": -4.5, "Michigan": 2.5, "Ohio": 3.0}
    spec = chart_of(STATISTICS["diff_from_mean"], {"question": QUESTION}, data)
    assert spec is not None
    assert [each["label"] for each in spec["data"]["values"]] == ["Ohio", "Michigan", "Iowa"]
    svg = vl_convert.vegalite_to_svg(spec)
    assert len(re.findall(r'fill="#3a83c0"', svg)) == 2
    assert len(re.findall(r'fill="#d97328"', svg)) == 1


def test_an_estimate_has_the_bca_interval_else_the_percentile_one() -> None:
    record = {"n": 3, "standard_error": 1.0, "percentile_low": 1.0, "percentile_high": 4.0}
    groups = [
        {"state": "Ohio", "estimate": 2.0, **record, "bca_low": 1.5, "bca_high": 3.5},
        {"state": "Utah", "estimate": 3.0, **record, "bca_low": None, "bca_high": None},
    ]
    data = {"confidence": 0.9, "groups": groups}
    spec = chart_of(STATISTICS["bootstrap_ci"], {"question": QUESTION}, data)
    assert spec is not None
    limits = {each["label"]: (each["low"], each["high"]) for each in spec["data"]["values"]}
    assert limits == {"Utah": (1.0, 4.0), "Ohio": (1.5, 3.5)}
    assert "0.9" in " ".join(spec["title"]["subtitle"])
    assert sum("low: 1.5; " in each for each in Drawn(spec).marks) == 2  # the line and the point


def test_a_weighted_mean_reaches_1_96_errors_to_either_side() -> None:
    data, spec = asked(sample(), "weighted_mean", **STATISTICS["weighted_mean"].example)
    for record in data["groups"]:
        (shown,) = [each for each in spec["data"]["values"] if each["label"] == record["state"]]
        reach = 1.959963984540054 * record["standard_error"]
        assert shown["low"] == pytest.approx(record["mean"] - reach, rel=1e-12)
        assert shown["high"] == pytest.approx(record["mean"] + reach, rel=1e-12)


def test_a_trend_has_its_points_its_line_and_its_band() -> None:
    data, spec = asked(sample(), "trend", question=STATISTICS["trend"].example["question"])
    (group,) = data["groups"]
    assert spec["data"]["values"] == [{"label": "all rows", **each} for each in group["years"]]
    points = [each for each in Drawn(spec).marks if "fitted" in each]
    assert len(points) >= len(group["years"])
    assert chart.told(group["slope"]) in spec["description"]


def test_a_trend_of_an_earlier_version_shows_the_slopes() -> None:
    data, _ = asked(sample(), "trend", **STATISTICS["trend"].example)
    for group in data["groups"]:
        del group["years"]
    spec = chart_of(STATISTICS["trend"], {"question": QUESTION}, data)
    assert Drawn(spec).groups() == {"Ohio", "Michigan"}


def test_states_by_strata_are_cells() -> None:
    data, spec = asked(sample(), "mean_by_category", question=sample().names.question[0])
    drawn = Drawn(spec)
    assert len(data) == len(drawn.values)
    assert sum("stratum: " in each for each in drawn.marks) == len(data)
    assert {each["category"] for each in drawn.values} <= set(sample().names.category)


def test_pairs_are_cells_that_say_how_sure_they_are() -> None:
    fields = {**SMALL, "question": QUESTION, "by": "state"}
    data, spec = asked(two_questions(["A", "BB", "CCC"]), "pairwise_permutation_test", **fields)
    drawn = Drawn(spec)
    assert len(drawn.values) == len(data["groups"]) == 3
    for each in drawn.values:
        assert (each["level"] == "0.05 or more") is (each["p_holm"] >= 0.05)
    assert "of 3 pairs differ" in " ".join(spec["title"]["subtitle"])


def test_filters_stand_in_the_title() -> None:
    request = {"question": QUESTION, "years": [2012, 2014], "category": "Sex", "stratum": "Male"}
    spec = chart_of(STATISTICS["global_mean"], request, {"global_mean": 2.5})
    assert spec is not None
    assert "Only 2012 to 2014, Sex, Male." in " ".join(spec["title"]["subtitle"])
    assert "2.5" in Drawn(spec).text


# -- what nobody foresaw --------------------------------------------------------------


def unforeseen(data: Any) -> Any:
    """The picture of a statistic that says nothing of one."""
    row = Statistic("new", "A new one.", QuestionRequest, lambda *_: data)
    return chart_of(row, {"question": QUESTION}, data)


@pytest.mark.parametrize(
    ("data", "groups"),
    [
        ({"rows": 5}, {"rows"}),
        ({"Ohio": 1.5, "New York": 2.5}, {"Ohio", "New York"}),
        (
            {"groups": [{"state": "Ohio", "share": 0.5, "n": 2}, {"state": "Utah", "share": 0.7}]},
            {"Ohio", "Utah"},
        ),
        ({"groups": [{"year": 2011, "share": 1}, {"year": 2012, "share": 2}]}, {"2011", "2012"}),
        ({"groups": [{"state": "Ohio", "odds": 2.0, "odds_low": 1.0, "odds_high": 3.0}]}, {"Ohio"}),
        (
            [{"category": "Sex", "stratum": each, "x": 1} for each in ("F", "M")],
            {"F", "M"},
        ),
    ],
)
def test_an_answer_of_another_shape_is_drawn_by_that_shape(data: Any, groups: set[str]) -> None:
    drawn = Drawn(unforeseen(data))
    assert drawn.marks
    assert drawn.groups() == groups


def test_limits_of_an_unknown_figure_are_an_interval() -> None:
    groups = [{"state": s, "odds": 2.0, "odds_low": 1.0, "odds_high": 3.0} for s in ("A", "B")]
    marks = Drawn(unforeseen({"groups": groups})).marks
    assert sum("odds low: 1; odds high: 3" in each for each in marks) == 4


@pytest.mark.parametrize("data", [None, "yes", True, {}, [], {"groups": []}, {"words": "no"}])
def test_what_has_no_figure_has_no_picture(data: Any) -> None:
    assert unforeseen(data) is None


@given(JSON)
def test_nothing_that_json_can_carry_is_too_strange(data: Any) -> None:
    for spec in (unforeseen(data), chart_of(None, {}, data)):
        if spec is not None:
            assert json.loads(json.dumps(spec)) == spec


def test_the_answer_of_a_statistic_that_is_gone_is_drawn_by_its_shape() -> None:
    spec = chart_of(None, {"question": QUESTION}, {"Ohio": 1.5, "New York": 2.0})
    assert Drawn(spec).groups() == {"Ohio", "New York"}


# -- what all keep --------------------------------------------------------------------


def test_more_rows_than_anybody_reads_are_cut_and_the_title_says_so() -> None:
    data = {f"State {n}": float(n) for n in range(1000)}
    spec = chart_of(STATISTICS["states_mean"], {"question": QUESTION}, data)
    assert spec is not None
    assert [each["state"] for each in spec["data"]["values"]] == list(data)[: chart.MOST_ROWS]
    assert "The first 400 of 1,000." in " ".join(spec["title"]["subtitle"])


@pytest.mark.parametrize("name", STATISTICS)
def test_the_data_can_be_read_from_what_vega_draws(name: str) -> None:
    _, spec = asked(sample(), name, **STATISTICS[name].example)
    first, *_ = vl_convert.vegalite_to_vega(spec)["data"]
    assert first["name"] == "answer"
    assert first["values"] == spec["data"]["values"]


@pytest.mark.parametrize("name", STATISTICS)
def test_a_picture_takes_the_width_of_its_place_unless_it_has_panels(name: str) -> None:
    _, spec = asked(sample(), name, **STATISTICS[name].example)
    assert (spec.get("width") == "container") is ("facet" not in spec)


@pytest.mark.parametrize("colour", [chart.BLUE, chart.ORANGE, chart.GREY])
@pytest.mark.parametrize("ground", ["#ffffff", "#16181d"])
def test_marks_stand_out_from_a_light_and_a_dark_ground(colour: str, ground: str) -> None:
    light, dark = sorted(map(luminance, (colour, ground)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3  # WCAG 2.2, 1.4.11


def luminance(colour: str) -> float:
    """The relative luminance as WCAG 2 has it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("text", ["", "short", "x" * 200, "many words " * 30])
def test_a_title_has_lines_that_fit_a_phone(text: str) -> None:
    spec = chart_of(STATISTICS["global_mean"], {"question": text}, {"global_mean": 1.0})
    assert spec is not None
    assert all(
        len(line) <= 52 for line in [*spec["title"]["text"], *spec["title"].get("subtitle", [])]
    )
