"""Small file systems of their own for tests, where root is there to mount them."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Disk:
    """A file system in memory, mounted at `path`."""

    path: Path

    def fill(self) -> None:
        """Take what room is left."""
        with (self.path / "filler").open("ab", buffering=0) as filler:
            for size in (2**16, 2**12, 1):
                try:
                    while True:
                        filler.write(bytes(size))
                except OSError:
                    continue

    def free(self) -> None:
        """Give back what `fill` has taken."""
        (self.path / "filler").unlink()

    def make_read_only(self) -> None:
        """Take no more writes; nobody may have a file of it open for writing."""
        subprocess.run(["mount", "-o", "remount,ro", str(self.path)], check=True)

    @contextmanager
    def covered_read_only(self) -> Iterator[None]:
        """An empty file system that takes no writes lies over this one for a while."""
        cover = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(self.path)]
        subprocess.run(cover, check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", str(self.path)], check=True)


@contextmanager
def small_disk(path: Path, size: str = "4m") -> Iterator[Disk]:
    """A new file system of `size` at `path`; skips the test where none can be mounted."""
    path.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    done = subprocess.run(mount, capture_output=True, check=False, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
