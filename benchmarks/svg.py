"""Matplotlib's SVG made part of a page: coloured by the page's style, alone with its ids."""

from collections.abc import Mapping
from io import BytesIO
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.figure import Figure as Drawing

INK, SOFT, LINE, PAPER = "#010100", "#010101", "#010102", "#010103"
"""What to draw text, lesser text, thin lines and the background with."""

SIDES = tuple(f"#0102{number:02x}" for number in range(8))
"""What to draw the sides of a comparison with; after the last, the first comes again."""

STYLE = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": False,
    "grid.color": LINE,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "hatch.linewidth": 1.2,
    "legend.frameon": False,
}

_NAMESPACE = "http://www.w3.org/2000/svg"
_HREF = "{http://www.w3.org/1999/xlink}href"
_NAMES = {INK: "ink", SOFT: "soft", LINE: "line", PAPER: "paper"} | {
    colour: f"side-{number}" for number, colour in enumerate(SIDES)
}
_NO_METADATA: Mapping[str, None] = dict.fromkeys(("Creator", "Date", "Format", "Type"))

ElementTree.register_namespace("", _NAMESPACE)
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")


def svg_text(drawing: Drawing, name: str, words: str) -> str:
    """The drawing as an element of HTML that says `words` to who cannot see it.

    The same drawing gives the same text. `name` makes its ids differ from other drawings'.
    The colours above become the page's: `--ink`, `--soft`, `--line`, `--paper`, `--side-0`...
    """
    written = BytesIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        drawing.savefig(written, format="svg", transparent=True, metadata=_NO_METADATA)
    root = ElementTree.fromstring(written.getvalue())
    for element in root.iter():
        _adapt(element, name)
    root.remove(root[0])  # only the look of lines' ends
    _, _, width, _ = root.attrib["viewBox"].split()
    for key in ("width", "height", "version"):
        del root.attrib[key]
    root.attrib.update(
        {"role": "img", "aria-label": words, "style": f"width: {float(width):g}px"},
    )
    return ElementTree.tostring(root, encoding="unicode")


def _adapt(element: ElementTree.Element, name: str) -> None:
    for key in ("fill", "stroke"):  # of hatches; a variable is only allowed in a style
        if key in element.attrib:
            style = element.get("style", "")
            element.set("style", f"{key}: {element.attrib.pop(key)}; {style}".rstrip("; "))
    for key, value in element.attrib.items():
        if key == "id":
            element.set(key, f"{name}-{value}")
        elif key == _HREF:
            element.set(key, value.replace("#", f"#{name}-", 1))
        elif key in ("style", "clip-path"):
            element.set(key, _coloured(value.replace("url(#", f"url(#{name}-")))


def _coloured(style: str) -> str:
    for colour, name in _NAMES.items():
        style = style.replace(colour, f"var(--{name})")
    return style
