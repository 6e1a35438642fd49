"""What a table's columns are made of, so that they are known to be still the right ones.

That is this program, the description, and the table's file. Whether the file is unchanged is
told by its state: which file it is, its size, and when it was last changed, which no program
can set back. Only where that has changed (the file was copied, or touched) does its content
have to be read.
"""

import hashlib
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Self

import msgspec

from server.digest import digest

SETTLED_SECONDS = 2.0
"""How old the last change of a file must be: more than a tick of any file system's clock."""

MAKERS = (
    *(
        "coding",
        "csv_rows",
        "csv_text",
        "dataset",
        "errors",
        "ingest",
        "machine",
        "parquet_file",
        "row_collector",
        "row_order",
        "table",
    ),
    *("column_cache", "column_source", "digest", "shared_data"),
)
"""The modules that columns are made, written and kept by."""


class FileState(msgspec.Struct, frozen=True):
    """What changes whenever a file does; times are in nanoseconds."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """The state that the file is in now; OSError where there is none."""
        found = path.stat()
        return cls(
            *(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        )


class Source(msgspec.Struct, frozen=True):
    """The digests of the program and of the description, and the state of the table's file.

    Where it is not `settled`, the file was changed so lately that a further change within
    the same tick of the clock would leave the state as it is.
    """

    program: str
    description: str
    state: FileState
    settled: bool

    @classmethod
    def of(cls, data: Path, dataset: Path) -> Self:
        """What the columns of table `data` are made of now; OSError where it cannot be read."""
        now = time.time_ns()
        state = FileState.of(data)
        described = hashlib.sha256(dataset.read_bytes()).hexdigest()
        return cls(_program(), described, state, state.changed < now - SETTLED_SECONDS * 1e9)

    def is_as(self, other: Self) -> bool:
        """Whether the same program, by the same description, makes columns of as large a file."""
        ours = (self.program, self.description, self.state.size)
        return ours == (other.program, other.description, other.state.size)


def _program() -> str:
    """The digest of all that decides which columns a table becomes by its description.

    The text of the modules rather than a number that somebody has to remember to count up.
    """
    texts = [Path(__file__).with_name(f"{name}.py").read_bytes() for name in MAKERS]
    versions = [sys.version, version("numpy"), version("polars")]
    digests = [hashlib.sha256(text).digest() for text in [*texts, *map(str.encode, versions)]]
    return hashlib.sha256(b"".join(digests)).hexdigest()


def content_of(path: Path) -> str | None:
    """The digest of a file's content; None where it cannot be read to its end."""
    try:
        with path.open("rb") as file:
            return digest(file.fileno(), os.fstat(file.fileno()).st_size)
    except OSError:
        return None
