"""A comparison drawn: bars, lines or a stack, as SVG for the report's page.

All are as wide as a telephone's page, so that their text keeps its size everywhere. No colour
says anything alone: bars bear their names, lines have markers, pieces of a stack hatches.
"""

import textwrap
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, islice

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from benchmarks.measure import Chart, Comparison, Figure
from benchmarks.svg import INK, PAPER, SIDES, SOFT, STYLE, svg_text
from benchmarks.wording import label, place, short

WIDTH = 400
"""Of a chart, in pixels of the page."""

TEXT_LINE = 18
MARKERS = "os^Dv*Pp"
HATCHES = ("", "//", "", "\\\\", "", "xx", "", "--")
GREY = SIDES[6]
LETTERS = 46
"""How many fit into a line."""

FAR = 10
"""From which ratio of the last place to the first the axis of places is logarithmic."""

VERY_FAR = 100
"""The same of the largest figure to the smallest, and the axis of figures."""


def chart(comparison: Comparison) -> str:
    """The comparison as an SVG element; empty where there is nothing to draw."""
    draw = _DRAW.get(comparison.chart)
    if draw is None or not comparison.figures:
        return ""
    with mpl.rc_context(STYLE):
        return svg_text(draw(comparison), comparison.name, words(comparison))


def words(comparison: Comparison) -> str:
    """What the chart shows, for who cannot see it."""
    figures = (f"{label(each, comparison)}: {short(each.median)}" for each in comparison.figures)
    return f"{comparison.title}, medians in {comparison.unit}. {'; '.join(figures)}."


def _canvas(height: float) -> Drawing:
    return Drawing(figsize=(WIDTH / 72, height / 72), dpi=72)


def _axes(drawing: Drawing, left: float, top: float, right: float, height: float) -> Axes:
    """Axes at so many pixels from the drawing's left, top and right edges, so high."""
    whole = drawing.get_figheight() * 72
    bottom = (whole - top - height) / whole
    return drawing.add_axes((left / WIDTH, bottom, 1 - (left + right) / WIDTH, height / whole))


def _wrapped(name: str) -> str:
    return "\n".join(textwrap.wrap(name, LETTERS, max_lines=2, placeholder=" …")) or " "


# -- bars -----------------------------------------------------------------------------


def _bars(comparison: Comparison) -> Drawing:
    """A bar for each figure, its name above; the first stands out from the others."""
    names = [_wrapped(label(figure, comparison)) for figure in comparison.figures]
    tops, height = _tops(names, bar=24)
    drawing = _canvas(height)
    axes = _axes(drawing, 1, 0, 90, height)
    axes.set(xlim=(0, _longest(comparison.figures)), ylim=(height, 0))
    axes.axis("off")
    for number, (figure, name, top) in enumerate(zip(comparison.figures, names, tops, strict=True)):
        axes.text(0, top - 3, name, va="bottom", linespacing=1.2)
        axes.barh(top + 8, figure.median, 16, color=SIDES[0] if number == 0 else GREY)
        _whisker(axes, figure, top + 8)
        end = axes.transData.transform((figure.high, 0))[0]
        axes.annotate(
            short(figure.median),
            (end + 8, top + 8),
            xycoords=("figure pixels", "data"),
            va="center",
            weight="bold" if number == 0 else "normal",
        )
    return drawing


def _tops(names: Sequence[str], bar: float) -> tuple[list[float], float]:
    """Where each bar under its name begins, from the top, and the height of all."""
    tops, height = [], 0.0
    for name in names:
        tops.append(height + TEXT_LINE * (name.count("\n") + 1))
        height = tops[-1] + bar
    return tops, height


def _longest(figures: Iterable[Figure]) -> float:
    return max(figure.high for figure in figures) or 1


def _whisker(axes: Axes, figure: Figure, y: float) -> None:
    if figure.low == figure.high:
        return
    spread = [[figure.median - figure.low], [figure.high - figure.median]]
    axes.errorbar(figure.median, y, xerr=spread, color=INK, capsize=3, lw=1.2, capthick=1.2)


# -- lines ----------------------------------------------------------------------------


def _lines(comparison: Comparison) -> Drawing:
    """A line for each name, whiskers from least to greatest, and a legend under the axes."""
    lines: dict[str, list[Figure]] = {}
    for figure in comparison.figures:
        lines.setdefault(figure.name, []).append(figure)
    names = [_wrapped(name) for name in lines]
    top, plot, gap = 22, 230, 50
    drawing = _canvas(top + plot + gap + _legend_height(names))
    axes = _axes(drawing, 44, top, 14, plot)
    _scale(axes, comparison)
    if axes.get_yscale() == "log":
        drawing.text(0, 1, "logarithmic", va="top", color=SOFT)
    colours = cycle(SIDES)
    handles = []
    for (name, figures), marker in zip(lines.items(), cycle(MARKERS), strict=False):
        if name.lower().startswith("ideal"):
            handles.append(_line(axes, figures, color=SOFT, linestyle="--", lw=1.2))
        else:
            handles.append(_line(axes, figures, color=next(colours), marker=marker, lw=1.8))
    _legend(drawing, handles, names, top + plot + gap)
    return drawing


def _line(axes: Axes, figures: list[Figure], **look: object) -> object:
    figures = sorted(figures, key=lambda figure: figure.at or 0)
    places = [figure.at or 0 for figure in figures]
    spread = [
        [figure.median - figure.low for figure in figures],
        [figure.high - figure.median for figure in figures],
    ]
    (line,) = axes.plot(places, [figure.median for figure in figures], markersize=7, **look)
    if look["color"] != SOFT:
        medians = [figure.median for figure in figures]
        axes.errorbar(places, medians, spread, fmt="none", color=look["color"], capsize=3, lw=1)
    return line


def _scale(axes: Axes, comparison: Comparison) -> None:
    places = sorted({figure.at or 0 for figure in comparison.figures})
    axes.set_xlabel(comparison.axis)
    if places[0] > 0 and places[-1] >= FAR * places[0]:
        axes.set_xscale("log")
        axes.set_xlabel(f"{comparison.axis} (logarithmic)")
    lows = [figure.low for figure in comparison.figures]
    if min(lows) > 0 and _longest(comparison.figures) > VERY_FAR * min(lows):
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1.05 * _longest(comparison.figures))
        axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _brief(value)))
    axes.set_xticks(places, [_brief(at) for at in places])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.08)
    axes.grid(axis="y", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0, pad=6)


def _brief(value: float) -> str:
    """A number for an axis: `20`, `0.5`, `18.6k`, `10M`."""
    for unit, sign in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= unit:
            return f"{value / (1000 if sign == 'k' else unit):.3g}{sign}"
    return f"{value:,.4g}"


# -- stacks ---------------------------------------------------------------------------


def _stack(comparison: Comparison) -> Drawing:
    """A bar for each place, its pieces side by side, and a legend under all bars."""
    pieces = list(dict.fromkeys(figure.name for figure in comparison.figures))
    looks = dict(zip(pieces, _piece_looks(len(pieces)), strict=True))
    bars: dict[float | None, list[Figure]] = {}
    for figure in comparison.figures:
        bars.setdefault(figure.at, []).append(figure)
    sums = [sum(figure.median for figure in figures) for figures in bars.values()]
    titles = [
        _wrapped(f"{place(figures[0], comparison)}: {short(total)} {comparison.unit}".lstrip(": "))
        for figures, total in zip(bars.values(), sums, strict=True)
    ]
    tops, height = _tops(titles, bar=44)
    names = [_piece_name(name, comparison) for name in pieces]
    drawing = _canvas(height + _legend_height(names))
    axes = _axes(drawing, 1, 0, 1, height)
    axes.set(xlim=(0, max(sums) or 1), ylim=(height, 0))
    axes.axis("off")
    handles: dict[str, object] = {}
    for figures, title, top in zip(bars.values(), titles, tops, strict=True):
        axes.text(0, top - 3, title, va="bottom", color=SOFT)
        left = 0.0
        for figure in figures:
            (piece,) = axes.barh(top + 16, figure.median, 32, left, **looks[figure.name])
            handles.setdefault(figure.name, piece)
            left += figure.median
    _legend(drawing, [handles[name] for name in pieces], names, height)
    return drawing


def _piece_looks(count: int) -> list[dict[str, object]]:
    looks = zip(cycle(SIDES), cycle(HATCHES), strict=False)
    return [
        {"facecolor": colour, "hatch": hatch, "edgecolor": PAPER, "linewidth": 1}
        for colour, hatch in islice(looks, count)
    ]


def _piece_name(name: str, comparison: Comparison) -> str:
    """The piece's name, and its median where there is only one bar that has it."""
    values = [short(each.median) for each in comparison.figures if each.name == name]
    return _wrapped(f"{name}: {values[0]}" if len(values) == 1 else name)


# -- legends --------------------------------------------------------------------------


def _legend_height(names: Iterable[str]) -> float:
    return sum(TEXT_LINE * (name.count("\n") + 1) + 3 for name in names) + 6


def _legend(drawing: Drawing, handles: list[object], names: list[str], top: float) -> None:
    """One column of names under the axes, `top` pixels from the top of the drawing."""
    whole = drawing.get_figheight() * 72
    drawing.legend(
        handles,
        names,
        loc="upper left",
        bbox_to_anchor=(0, 1 - top / whole),
        borderpad=0,
        borderaxespad=0,
        handlelength=2.2,
        labelspacing=0.45,
    )


_DRAW: dict[Chart, Callable[[Comparison], Drawing]] = {
    Chart.BARS: _bars,
    Chart.LINES: _lines,
    Chart.STACK: _stack,
}
