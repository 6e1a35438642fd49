"""Each rival takes a job through HTTP and gives this server's answer."""

import json
import math
import os
import shutil
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest

from benchmarks import http_rivals
from benchmarks.generators import by_bundled
from benchmarks.load import Load
from benchmarks.measure import Comparison, Effort
from benchmarks.rivals.queues import QUEUES, behind_flask, redis_server
from benchmarks.servers import first_version_server
from server.loader import load_region
from server.settings import Settings
from server.shared_data import SharedRegion, attach_table
from server.stats import STATISTICS
from server.stats.means import ROWS
from tests.support import pools
from tests.support.answers import answer
from tests.support.servers import wait_for

nothing_left_behind = pools.nothing_left_behind

SETTINGS = Settings.read({})


@pytest.fixture(scope="module")
def region() -> Iterator[SharedRegion]:
    with load_region(SETTINGS.data, SETTINGS.dataset) as region:
        yield region


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not on the PATH")
    pytest.importorskip("redis", reason="the package redis is not installed")
    with redis_server() as redis:
        yield redis


def _ask(port: int, method: str, path: str, body: Any = None) -> Any:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json"})
        return json.load(connection.getresponse())
    finally:
        connection.close()


def _data(port: int, statistic: str, body: dict[str, str]) -> Any:
    """Post a job, wait for it, and give its data."""
    job_id = _ask(port, "POST", f"/api/{statistic}", body)["job_id"]

    def ended() -> Any:
        found = _ask(port, "GET", f"/api/get_results/{job_id}")
        return found if found["status"] != "running" else None

    return wait_for(ended, f"job {job_id} has ended")["data"]


@pytest.mark.parametrize("name", [name for name in QUEUES if name != "Dask"])
def test_a_queue_behind_flask_gives_the_same_answer(
    name: str, redis: str, region: SharedRegion
) -> None:
    if not QUEUES[name].is_installed:
        pytest.skip(f"{QUEUES[name].package} is not installed; it comes with the extra `bench`")
    table = attach_table(region.fd)
    body = {"question": table.names.question[0]}
    statistic = STATISTICS["states_mean"]
    place = f"/proc/{os.getpid()}/fd/{region.fd}"
    with behind_flask(name, redis, place, 1) as port:
        data = _data(port, "states_mean", body)
        load = Load(port, "/api/states_mean", 2, 0.0, json.dumps(body), reads_result=True)
        found = by_bundled(load)
    assert data == answer(statistic, table, statistic.request(**body))
    assert (found.count, found.refused) == (2, 0)


def test_the_first_version_answers_all_nine_through_http(region: SharedRegion) -> None:
    table = attach_table(region.fd)
    with first_version_server(SETTINGS.data, SETTINGS.dataset) as port:
        for statistic in ROWS:
            body = {"question": table.names.question[-1]}
            if "state" in statistic.request.__struct_fields__:
                body["state"] = "Ohio"
            ours = answer(statistic, table, statistic.request(**body))
            theirs = _data(port, statistic.name, body)
            assert theirs.keys() == ours.keys()
            assert _numbers(theirs) == pytest.approx(_numbers(ours), rel=1e-9, abs=1e-9)


def _numbers(data: Any) -> list[float]:
    """All figures of an answer, in the order of their names."""
    if isinstance(data, dict):
        return [number for name in sorted(data) for number in _numbers(data[name])]
    return [data]


def test_without_a_redis_the_first_version_is_the_only_other_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    comparisons = list(http_rivals.measure(Effort(runs=1, seconds=0.2, quick=True)))
    rates, medians, highest = comparisons
    sides = [http_rivals.OURS, http_rivals.FIRST, http_rivals.WAITING]
    for comparison in comparisons:
        assert [figure.name for figure in comparison.figures] == sides
        assert all(math.isfinite(value) and value > 0 for value in _values(comparison))
    assert all(low <= high for low, high in zip(_values(medians), _values(highest), strict=True))
    assert [goal.at_least for goal in rates.goals] == [5.0]
    assert any("redis-server" in note for note in rates.notes)


def _values(comparison: Comparison) -> list[float]:
    return [value for figure in comparison.figures for value in figure.values]
