"""The three backends, for tests that hold a server to the same whoever computes for it.

A test that asks for `backend` runs once for each of them, and hands on what it is given:

    with running_server(tmp_path, configuration=FOR_TESTS, **backend) as server:

What a backend cannot do by its nature stands here, with the reason; such a test is marked.
"""

from collections.abc import Iterator

import pytest

from tests.support.dask_cluster import DaskCluster, dask_cluster, wait_for_workers

BACKENDS = ("process", "thread", "dask")

Settings = dict[str, str]
"""With which a server computes by a backend."""


def _but_not(**reasons: str) -> pytest.MarkDecorator:
    """A mark: the test runs for all backends but these."""
    there = [name for name in BACKENDS if name not in reasons]
    return pytest.mark.parametrize("backend", there, indirect=True)


_NO_DEATHS = "no thread can be killed, and what ends one by itself ends the server with it"

WHERE_WORKERS_ARE_PROCESSES = _but_not(thread=_NO_DEATHS)
WHERE_IT_IS_KNOWN_HOW_A_WORKER_DIED = _but_not(
    thread=_NO_DEATHS,
    dask="the exit code of a Dask worker is known to its nanny alone",
)

shared_clusters: list[DaskCluster] = []
"""The one of `dask_workers`, once it has been asked for."""


@pytest.fixture(scope="session")
def dask_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A scheduler and two workers, which every server and pool of two workers has in turn."""
    with dask_cluster(tmp_path_factory.mktemp("dask")) as cluster:
        wait_for_workers(cluster, 2)
        shared_clusters.append(cluster)
        yield cluster
        shared_clusters.remove(cluster)


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Settings:
    """The settings of a server that computes by each backend in turn."""
    return settings_of(request.param, request)


def settings_of(name: str, request: pytest.FixtureRequest) -> Settings:
    """The settings of a server that computes by this backend."""
    if name != "dask":
        return {"SPORTIV_BACKEND": name}
    cluster: DaskCluster = request.getfixturevalue("dask_workers")
    return cluster.settings
