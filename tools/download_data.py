"""Downloads the current survey table from its publisher, and keeps it only when it is whole.

    python -m tools.download_data [--url URL] [--output data/downloaded/cdc_brfss.csv]

    publisher ── bytes ─▶ <output>.part ── length, header, every line ─▶ <output>
                          <output>.part.json                └─ not so ─▶ <output>.rejected
                          (what the part is a part of)

A transfer that breaks off goes on from where it stopped: at once after a dropped connection,
a few times, or in the next run. It goes on only if the publisher confirms that the file is
still the same one, and starts over otherwise. What stood at <output> stays there until the
new file has passed every check. Run one download per output at a time.
"""

import argparse
import csv
import hashlib
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

import requests
from tqdm import tqdm

from server.csv_text import LONGEST_FIELD

DEFAULT_URL = "https://data.cdc.gov/api/views/hn4x-zwk7/rows.csv?accessType=DOWNLOAD"
DEFAULT_OUTPUT = Path("data/downloaded/cdc_brfss.csv")
NEEDED_COLUMNS = (
    "YearStart",
    "LocationDesc",
    "Question",
    "Data_Value",
    "Sample_Size",
    "StratificationCategory1",
    "Stratification1",
)

CONNECT_AND_READ_SECONDS = (15.0, 60.0)
CHUNK_BYTES = 8192
"""Small, because a connection that drops takes the chunk it had begun with it."""

INTERRUPTED_BY_USER = 130

BUSY = frozenset({408, 429, 500, 502, 503, 504})
"""The statuses after which trying again may help."""

DROPPED = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)
"""What requests raises when a connection fails or ends too early."""


class DownloadError(Exception):
    """The download did not happen; the message says why and what remains."""


class BrokenOff(Exception):
    """This attempt failed; another one may succeed."""


class Rejected(Exception):
    """The file came whole, but it is not a table that the server can use."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often to try, and how many seconds to wait in between, growing up to a bound."""

    attempts: int = 6
    first_pause: float = 1.0
    longest_pause: float = 30.0

    def pauses(self) -> Iterator[float]:
        """The pause after each attempt but the last."""
        for retry in range(self.attempts - 1):
            yield min(self.longest_pause, self.first_pause * 2**retry)


PATIENCE = Patience()


@dataclass(frozen=True, slots=True)
class Origin:
    """Which version of which file the bytes belong to; None is what the server did not say."""

    url: str
    etag: str | None
    last_modified: str | None
    total: int | None

    def validator(self) -> str | None:
        """What If-Range may carry: a strong ETag, else the date, else nothing."""
        if self.etag is not None and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified

    def contradicts(self, headers: Mapping[str, str]) -> bool:
        """Whether the headers of a partial answer name another version than this."""
        etag, date = headers.get("ETag"), headers.get("Last-Modified")
        if self.etag is not None and etag is not None:
            return etag != self.etag
        return None not in (self.last_modified, date) and date != self.last_modified


@dataclass(frozen=True, slots=True)
class Part:
    """The unfinished file beside `output`, and the note that says what it is a part of."""

    output: Path

    @property
    def path(self) -> Path:
        return self.output.with_name(f"{self.output.name}.part")

    @property
    def note(self) -> Path:
        return self.output.with_name(f"{self.output.name}.part.json")

    @property
    def rejected(self) -> Path:
        return self.output.with_name(f"{self.output.name}.rejected")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def origin(self) -> Origin | None:
        """What the note says, or None where it is missing or unreadable."""
        try:
            return Origin(**json.loads(self.note.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def begin(self, origin: Origin) -> None:
        # Emptied before the note changes: never are old bytes under a new note.
        self.path.write_bytes(b"")
        self.note.write_text(json.dumps(asdict(origin), indent=2) + "\n", encoding="utf-8")

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def move_to(self, place: Path) -> None:
        self.path.replace(place)
        self.note.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a checked table holds; `size` in bytes."""

    rows: int
    first_year: int
    last_year: int
    size: int
    sha256: str

    def __str__(self) -> str:
        years = f"years {self.first_year} to {self.last_year}"
        return f"{self.rows:,} rows, {years}, {self.size:,} bytes, sha256 {self.sha256}"


def download(url: str, output: Path, patience: Patience = PATIENCE) -> Summary:
    """Put the table at `url` at `output`, whole and checked, or raise `DownloadError`."""
    part = Part(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with requests.Session() as session:
        # The offsets of Range count the bytes on the wire, so they must be the file's own.
        session.headers["Accept-Encoding"] = "identity"
        fetch(session, url, part, patience)
    return accept(part)


def fetch(session: requests.Session, url: str, part: Part, patience: Patience) -> None:
    """Complete the part, in as many attempts as `patience` allows."""
    pauses = patience.pauses()
    while True:
        try:
            return attempt(session, url, part)
        except (BrokenOff, *DROPPED) as error:
            pause = next(pauses, None)
            if pause is None:
                raise DownloadError(given_up(error, part, patience)) from error
            say(
                f"broken off at {part.size():,} bytes ({cause(error)}); trying again in {pause:g} s"
            )
            time.sleep(pause)
        except requests.RequestException as error:
            raise DownloadError(f"cannot download {url}: {error}") from error


def given_up(error: Exception, part: Part, patience: Patience) -> str:
    return (
        f"gave up after {patience.attempts} attempts: {cause(error)}\n"
        f"{part.size():,} bytes are kept in {part.path}; running again resumes the download"
    )


def cause(error: BaseException) -> str:
    """The sentence inside the exceptions that requests and urllib3 wrap around each other."""
    while error.args and isinstance(error.args[0], BaseException):
        error = error.args[0]
    return str(error.args[0] if error.args else type(error).__name__)


def attempt(session: requests.Session, url: str, part: Part) -> None:
    """Complete the part with one request, or raise; whole chunks that came are kept."""
    known = resumable(part, url)
    headers = {} if known is None else range_headers(known, part.size())
    with session.get(
        url, headers=headers, stream=True, timeout=CONNECT_AND_READ_SECONDS
    ) as response:
        status = response.status_code
        if status == 200:
            receive_all(response, url, part)
        elif status == 206 and known is not None:
            receive_rest(response, known, part)
        elif status == 416 and known is not None:
            confirm_complete(response, known, part)
        elif status in BUSY:
            raise BrokenOff(f"the server answered {status} {response.reason}")
        else:
            raise DownloadError(f"{url} answered {status} {response.reason}")


def resumable(part: Part, url: str) -> Origin | None:
    """What the part belongs to if a request can go on from its end, else None."""
    origin, size = part.origin(), part.size()
    if origin is None or origin.url != url or origin.validator() is None or size == 0:
        return None
    return origin if origin.total is None or size <= origin.total else None


def range_headers(origin: Origin, offset: int) -> dict[str, str]:
    return {"Range": f"bytes={offset}-", "If-Range": origin.validator() or ""}


def receive_all(response: requests.Response, url: str, part: Part) -> None:
    """Take the whole file from its first byte, whatever there was before."""
    origin = described(response, url)
    if part.size() > 0:
        say("the server sends the file from its beginning; starting over")
    part.begin(origin)
    receive(response, part, origin.total)


def described(response: requests.Response, url: str) -> Origin:
    """The version that a full answer announces.

    A body that is encoded against our wish has neither a usable length nor offsets, so its
    origin carries nothing to resume by.
    """
    headers = response.headers
    if encoded(response):
        return Origin(url, None, None, None)
    length = headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    return Origin(url, headers.get("ETag"), headers.get("Last-Modified"), total)


def encoded(response: requests.Response) -> bool:
    return response.headers.get("Content-Encoding", "identity") != "identity"


def receive_rest(response: requests.Response, known: Origin, part: Part) -> None:
    """Append what is missing; forget the part where the answer is not its continuation."""
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    fits = (
        span is not None
        and int(span[1]) == part.size()
        and span[2] in ("*", str(known.total or span[2]))
        and not encoded(response)
    )
    if span is None or not fits or known.contradicts(response.headers):
        part.forget()
        raise BrokenOff("the rest does not belong to the part; starting over")
    say(f"resuming at {part.size():,} bytes")
    receive(response, part, known.total if span[2] == "*" else int(span[2]))


def confirm_complete(response: requests.Response, known: Origin, part: Part) -> None:
    """Nothing lies beyond the part: right if it has the full length, else start over."""
    span = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
    total = known.total if span is None else int(span[1])
    if part.size() != total or known.contradicts(response.headers):
        part.forget()
        raise BrokenOff("the part is not of this file; starting over")
    say(f"all {total:,} bytes had arrived before")


def receive(response: requests.Response, part: Part, total: int | None) -> None:
    """Append the body to the part and check that the part then has `total` bytes, if known."""
    with part.path.open("ab") as file:
        copy_body(response, file, total)
    size = part.size()
    if total is not None and size > total:
        part.forget()
        raise BrokenOff(f"{size:,} bytes came instead of {total:,}; starting over")
    if total is not None and size < total:
        raise BrokenOff(f"only {size:,} of {total:,} bytes came")


def copy_body(response: requests.Response, file: BinaryIO, total: int | None) -> None:
    """Copy with a progress bar on stderr, where that is a terminal."""
    with tqdm(
        total=total, initial=file.tell(), unit="B", unit_scale=True, disable=None
    ) as progress:
        for chunk in response.iter_content(CHUNK_BYTES):
            file.write(chunk)
            progress.update(len(chunk))


def accept(part: Part) -> Summary:
    """Give the complete part its final name if it passes every check, else set it aside."""
    origin = part.origin()
    try:
        if origin is None or origin.total is None:
            check_last_line(part.path)
        summary = check_table(part.path)
    except Rejected as reason:
        part.move_to(part.rejected)
        raise DownloadError(f"{reason}; the file is kept aside as {part.rejected}") from reason
    with part.path.open("rb+") as file:
        os.fsync(file.fileno())  # on disk before it can stand in the old file's place
    part.move_to(part.output)
    return summary


def check_last_line(path: Path) -> None:
    """Where the length is unknown, a missing line end is all that tells of a cut last field."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 1))
        if file.read() != b"\n":
            raise Rejected("the download stopped in the middle of the last line")


def check_table(path: Path) -> Summary:
    """What the file holds, or `Rejected` with the first line that is not as it should be."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = check_lines(file)
    except UnicodeDecodeError as error:
        raise Rejected(f"the file is not UTF-8: {error}") from error
    years = [int(text) for text in rows if text.isdecimal()]
    if not years:
        raise Rejected("no row has a year in YearStart")
    with path.open("rb") as binary:
        sha256 = hashlib.file_digest(binary, "sha256").hexdigest()
    return Summary(rows.total(), min(years), max(years), path.stat().st_size, sha256)


def check_lines(file: TextIO) -> Counter[str]:
    """The number of rows for each text in YearStart."""
    csv.field_size_limit(LONGEST_FIELD)
    lines = csv.reader(file, strict=True)
    rows: Counter[str] = Counter()
    try:
        header = [name.strip() for name in next(lines, [])]
        year = check_header(header)
        for row in lines:
            if len(row) != len(header):
                fields = f"{len(row)} fields instead of {len(header)}"
                raise Rejected(f"line {lines.line_num} has {fields}")
            rows[row[year]] += 1
    except csv.Error as error:
        raise Rejected(f"line {lines.line_num} is not CSV: {error}") from error
    if not rows:
        raise Rejected("there is a header but no row")
    return rows


def check_header(header: Sequence[str]) -> int:
    """The position of the year among the columns, once all that are needed are there."""
    missing = [name for name in NEEDED_COLUMNS if name not in header]
    if missing:
        raise Rejected(f"the header lacks {', '.join(missing)}; it starts with {header[:5]}")
    return header.index("YearStart")


def say(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def main(arguments: Sequence[str] | None = None, patience: Patience = PATIENCE) -> int:
    """Download and print what came: 0 when it is there, 1 when not, 130 after Ctrl-C."""
    options = parse(arguments)
    try:
        summary = download(options.url, options.output, patience)
    except KeyboardInterrupt:
        kept = Part(options.output)
        say(f"stopped; {kept.size():,} bytes are kept in {kept.path}; running again resumes")
        return INTERRUPTED_BY_USER
    except (DownloadError, OSError) as error:
        say(f"error: {error}")
        return 1
    print(f"{options.output}: {summary}")
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.download_data",
        description="Download the current CDC survey table, resuming where a run stopped.",
    )
    parser.add_argument("--url", default=DEFAULT_URL, help="%(default)s")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="%(default)s")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
