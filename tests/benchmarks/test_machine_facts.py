"""What a report says of its machine and its moment."""

import subprocess
from datetime import UTC, datetime, timedelta
from shutil import which

import pytest

from benchmarks.machine_facts import machine_facts
from server.settings import ROOT


def test_the_date_is_this_moment_in_utc() -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    assert before <= datetime.fromisoformat(machine_facts()["date"]) <= datetime.now(UTC)


def test_no_fact_is_empty() -> None:
    assert all(machine_facts().values())


@pytest.mark.skipif(
    not (which("git") and (ROOT / ".git").exists()), reason="no checkout, or no git to ask"
)
def test_the_version_of_a_checkout_is_its_commit() -> None:
    command = ("git", "-C", ROOT, "describe", "--always", "--tags")
    commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert machine_facts()["version"].removesuffix("-dirty") == commit
