"""Opens everything that serving takes, in order, and closes it in reverse."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path

from server.catalogue import Catalogue
from server.dataset import load_description
from server.end_recorder import EndRecorder
from server.errors import StartError
from server.folder_lock import holding_folder
from server.housekeeper import Housekeeper
from server.jobs import Jobs
from server.ledger import Ledger
from server.loader import load_region
from server.logging_setup import logging_to
from server.pool import Listener, Pool
from server.process_pool import ProcessPool
from server.result_store import ResultStore
from server.result_writer import ResultWriter
from server.settings import Backend, Durability, LogFormat, Settings
from server.shared_data import SharedRegion, attach_table
from server.thread_pool import ThreadPool

PRIVATE = ".ledger"
"""The folder for the server's own files in the results folder; `rm results/*` spares it."""

OpenedPool = AbstractContextManager[Pool]
"""A pool that is open while it is entered."""

log = logging.getLogger("sportiv.runtime")


@contextmanager
def serving(settings: Settings, statistics: str, *, keep_log: bool) -> Iterator[Jobs]:
    """Everything open, and the jobs of an earlier server taken up; StartError if it cannot be.

    `statistics` names the module whose `STATISTICS` can be asked for; `keep_log` goes on in
    the log that is there. The folder is let go last, when nobody writes to it any more.
    """
    private = _private_folder(settings.results_dir)
    as_json = settings.log_format is LogFormat.JSON
    with (
        holding_folder(private),
        logging_to(settings.log_dir, keep=keep_log, as_json=as_json),
        load_region(settings.data, settings.dataset, _cache(settings, private)) as region,
    ):
        table = attach_table(region.fd, populate=True)
        known = import_module(statistics).STATISTICS
        catalogue = Catalogue(table, load_description(settings.dataset), known)
        log.info("%d rows of %s, fingerprint %s", table.rows, settings.data, table.fingerprint)

        def make_pool(listener: Listener) -> OpenedPool:
            return _pool(settings, listener, catalogue, region, statistics)

        with working(settings, private, catalogue, make_pool) as jobs:
            jobs.shared_bytes = region.size
            log.info("started with %d workers (%s)", settings.workers, settings.backend)
            yield jobs


@contextmanager
def working(
    settings: Settings,
    private: Path,
    catalogue: Catalogue,
    make_pool: Callable[[Listener], OpenedPool],
) -> Iterator[Jobs]:
    """The jobs of one results folder at work, in a folder `private` that nobody else uses.

    Leaving stops the housekeeper, then ends the pool, so that nothing new comes; then the
    writer brings to disk what has come, and the recorder tells the ledger; then that closes.
    What has not ended by then is in the ledger for the next start.
    """
    flush = settings.durability is Durability.FULL
    with (
        _checked(ResultStore(settings.results_dir, private)) as store,
        Ledger(private / "ledger.sqlite3", settings.durability) as ledger,
    ):
        jobs = Jobs(catalogue, ledger, store, settings)
        with (
            EndRecorder(store, ledger, flush=flush, on_recorded=jobs.live.on_recorded) as recorder,
            ResultWriter(store, jobs.live.locks, jobs.live.on_ended) as writer,
            make_pool(jobs.live) as pool,
        ):
            jobs.serve_with(pool, writer, recorder)
            with Housekeeper(store, ledger, settings, jobs.compute_again):
                yield jobs


@contextmanager
def _checked(store: ResultStore) -> Iterator[ResultStore]:
    """The store, open, after it has shown that it can keep a result; StartError if it cannot."""
    try:
        with store:
            store.tidy()
            store.check_writable()
            store.flush([])
            yield store
    except OSError as error:
        raise StartError(f"the results folder cannot be written to: {error}") from error


def _cache(settings: Settings, private: Path) -> Path | None:
    """The folder of cached columns: as a path that is not whole, below the private folder."""
    return None if settings.column_cache is None else private / settings.column_cache


def _pool(
    settings: Settings,
    listener: Listener,
    catalogue: Catalogue,
    region: SharedRegion,
    statistics: str,
) -> OpenedPool:
    if settings.backend is Backend.DASK:
        return _dask_pool(settings, listener, region, statistics)
    if settings.backend is Backend.THREAD:
        return ThreadPool(
            listener,
            workers=settings.workers,
            table=catalogue.table,
            statistics=catalogue.statistics,
        )
    return ProcessPool(
        listener,
        workers=settings.workers,
        table_fd=region.fd,
        catalogue=statistics,
        worker_memory=settings.worker_memory,
        worker_max_tasks=settings.worker_max_tasks,
    )


def _dask_pool(
    settings: Settings, listener: Listener, region: SharedRegion, statistics: str
) -> OpenedPool:
    """As the others; only here, and so only where it is wanted, is Dask imported."""
    if settings.dask_scheduler is None:
        raise StartError("SPORTIV_BACKEND=dask needs SPORTIV_DASK_SCHEDULER=tcp://host:port")
    try:
        from server.dask_pool import DaskPool
    except ImportError as error:
        raise StartError(f"SPORTIV_BACKEND=dask needs the extra `dask`: {error}") from error
    return DaskPool(
        listener,
        scheduler=settings.dask_scheduler,
        table_fd=region.fd,
        catalogue=statistics,
        columns=None if settings.dask_columns is None else str(settings.dask_columns),
        patience=settings.dask_patience,
    )


def _private_folder(results: Path) -> Path:
    """The server's own folder among the results, made where it is missing."""
    private = results / PRIVATE
    try:
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"the results folder {results} cannot be used: {error}") from error
    if not os.access(private, os.W_OK | os.X_OK):
        raise StartError(f"the results folder {results} cannot be written to")
    return private
