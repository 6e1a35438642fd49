"""A concurrent hash map from job id to lock.

An entry lives from the acceptance of its job until the final write of its result, so the
map is as large as the number of jobs that have not ended, and empty when nothing is to do.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ResultLocks:
    """One lock per job that has not ended. Safe for any number of threads.

    The map's own lock guards only the map, and only for the time of a look-up; it is never
    held while waiting for a job's lock or while a file is written.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[int, threading.Lock] = {}  # guarded by _guard

    def add(self, job_id: int) -> None:
        """Give the job a lock; ValueError where it has one."""
        with self._guard:
            if job_id in self._locks:
                raise ValueError(f"job {job_id} has a lock already")
            self._locks[job_id] = threading.Lock()

    @contextmanager
    def holding(self, job_id: int) -> Iterator[bool]:
        """Hold the job's lock; gives whether the job still has one.

        False means that the job has ended: its final result is written and nothing may be
        written over it.
        """
        with self._guard:
            lock = self._locks.get(job_id)
        if lock is None:
            yield False
            return
        with lock:
            with self._guard:
                alive = self._locks.get(job_id) is lock
            yield alive

    def has(self, job_id: int) -> bool:
        """Whether the job has a lock at this moment."""
        return job_id in self._locks

    def discard(self, job_id: int) -> None:
        """Drop the job's entry after its final write; threads that wait for it see False."""
        with self._guard:
            self._locks.pop(job_id, None)

    def __len__(self) -> int:
        with self._guard:
            return len(self._locks)
