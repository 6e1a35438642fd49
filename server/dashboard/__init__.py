"""The page for people: its files, and the library that draws its charts.

The files lie in `static/`, are read once, and are sent as they stand: no page is put together
here. The page asks for the library at an address that stays the same, and is led from there
to the one with the version, which its browser may keep for ever.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from server.chart_library import ChartLibrary
from server.errors import UnknownAsset

STATIC = Path(__file__).parent / "static"
PAGE = "index.html"

LIBRARY = "vega.js"
"""The name by which the page asks for the library, whatever its version."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: its own files alone, no text of it run as a program."""

_ASKING_EACH_TIME = "no-cache"
_FOR_EVER = "public, max-age=31536000, immutable"
_SCRIPT = "text/javascript; charset=utf-8"
_MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": _SCRIPT,
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
}
"""The kinds of files that are served; an editor's leftovers are not."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent: its bytes, their media type, how long a browser may keep it."""

    content: bytes
    media: str
    caching: str
    tag: str  # the same only for the same bytes

    @classmethod
    def of(cls, content: bytes, media: str, caching: str) -> "Asset":
        """The asset that these bytes make."""
        return cls(content, media, caching, hashlib.sha256(content).hexdigest()[:32])


class Dashboard:
    """Every file of the page by its name. Safe for any number of threads."""

    def __init__(self, library: ChartLibrary, folder: Path = STATIC) -> None:
        self._library = library
        self._files = {
            path.name: Asset.of(path.read_bytes(), _MEDIA[path.suffix], _ASKING_EACH_TIME)
            for path in folder.iterdir()
            if path.suffix in _MEDIA and not path.name.startswith(".")
        }
        self.page = self._files.pop(PAGE)

    @property
    def library_name(self) -> str:
        """The name of the library with its version."""
        return self._library.name

    def asset(self, name: str) -> Asset:
        """The file of this name; UnknownAsset where the page has none.

        NoChartLibrary where it is the library, and that cannot be made.
        """
        if name == self.library_name:
            return self._script
        if name not in self._files:
            raise UnknownAsset
        return self._files[name]

    @cached_property
    def _script(self) -> Asset:
        return Asset.of(self._library.script(), _SCRIPT, _FOR_EVER)
