"""The service without HTTP and without processes: jobs over a folder, computed by threads."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from server.catalogue import Catalogue
from server.dataset import Columns, Description
from server.jobs import Jobs
from server.pool import Listener
from server.runtime import PRIVATE, working
from server.settings import Settings
from server.stats.statistic import Statistic
from server.thread_pool import ThreadPool
from tests.support.pools import small_table
from tests.support.statistics import STATISTICS

DESCRIPTION = Description(
    title="Invented", columns=Columns(location=("l",), question=("q",), value=("v",))
)


@contextmanager
def service(
    folder: Path, statistics: Mapping[str, Statistic] = STATISTICS, **settings: str
) -> Iterator[Jobs]:
    """Jobs whose results lie in `folder`; settings by their names without the prefix."""
    environment = {f"SPORTIV_{name.upper()}": value for name, value in settings.items()}
    read = Settings.read({"SPORTIV_RESULTS_DIR": str(folder), "SPORTIV_CACHE": "0", **environment})
    table = small_table()

    def make_pool(listener: Listener) -> ThreadPool:
        return ThreadPool(listener, workers=2, table=table, statistics=statistics)

    private = folder / PRIVATE
    private.mkdir(parents=True, exist_ok=True)
    with working(read, private, Catalogue(table, DESCRIPTION, statistics), make_pool) as jobs:
        yield jobs
