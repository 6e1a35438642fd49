"""A job server as one first writes it, for comparison: threads, a queue, and pandas.

Flask's own server with a thread for each request, a pool of threads over a `queue.Queue`,
each request computed anew over a data frame that was read once from the CSV file, each
result written to a JSON file that `get_results` reads.

    python -m benchmarks.rivals.first_version PORT DATA DATASET FOLDER
"""

import json
import os
import queue
import sys
import threading
import tomllib
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
from flask import Flask, request
from flask.typing import ResponseReturnValue

VALUE, PLACE = "Data_Value", "LocationDesc"
STRATA = ["StratificationCategory1", "Stratification1"]
Body = dict[str, Any]


class Answers:
    """The nine first statistics over one data frame."""

    def __init__(self, data: Path, dataset: Path) -> None:
        self._frame = pd.read_csv(data, low_memory=False)
        self._better_low = set(tomllib.loads(dataset.read_text())["questions"]["better_low"])
        self.of: dict[str, Callable[[Body], Body]] = {
            "states_mean": lambda body: self._states(body).to_dict(),
            "state_mean": lambda body: {body["state"]: float(self._in_state(body)[VALUE].mean())},
            "best5": lambda body: self._ranked(body).head(5).to_dict(),
            "worst5": lambda body: self._ranked(body)[::-1].head(5).to_dict(),
            "global_mean": lambda body: {"global_mean": self._overall(body)},
            "diff_from_mean": lambda body: (self._overall(body) - self._states(body)).to_dict(),
            "state_diff_from_mean": self._state_difference,
            "mean_by_category": lambda body: _by(self._rows(body), [PLACE, *STRATA]),
            "state_mean_by_category": lambda body: {
                body["state"]: _by(self._in_state(body), STRATA)
            },
        }

    def _rows(self, body: Body) -> pd.DataFrame:
        return self._frame[self._frame["Question"] == body["question"]]

    def _in_state(self, body: Body) -> pd.DataFrame:
        rows = self._rows(body)
        return rows[rows[PLACE] == body["state"]]

    def _overall(self, body: Body) -> float:
        return float(self._rows(body)[VALUE].mean())

    def _states(self, body: Body) -> "pd.Series[float]":
        return self._rows(body).groupby(PLACE)[VALUE].mean().dropna().sort_values()

    def _ranked(self, body: Body) -> "pd.Series[float]":
        means = self._states(body)
        return means if body["question"] in self._better_low else means[::-1]

    def _state_difference(self, body: Body) -> Body:
        mean = float(self._in_state(body)[VALUE].mean())
        return {body["state"]: self._overall(body) - mean}


def _by(rows: pd.DataFrame, columns: list[str]) -> Body:
    means = rows.groupby(columns)[VALUE].mean().dropna()
    return {str(key): value for key, value in means.items()}


class Threads:
    """The pool: threads that take jobs from the queue and write their results to files."""

    def __init__(self, answers: Answers, folder: Path, threads: int) -> None:
        self._answers = answers
        self._folder = folder
        self._queue: queue.Queue[tuple[int, str, Body]] = queue.Queue()
        self._ids = count(1)
        self._lock = threading.Lock()  # guards `_ids` and `_open`
        self._open: set[int] = set()
        for _ in range(threads):
            threading.Thread(target=self._work, daemon=True).start()

    def submit(self, statistic: str, body: Body) -> int:
        """Queue a job; its id."""
        with self._lock:
            job_id = next(self._ids)
            self._open.add(job_id)
        self._queue.put((job_id, statistic, body))
        return job_id

    def result(self, job_id: int) -> Body:
        """What the job's file holds, once it has ended."""
        with self._lock:
            if job_id in self._open:
                return {"status": "running"}
        return {"status": "done", "data": json.loads(self._path(job_id).read_text())}

    def _work(self) -> None:
        while True:
            job_id, statistic, body = self._queue.get()
            self._path(job_id).write_text(json.dumps(self._answers.of[statistic](body)))
            with self._lock:
                self._open.remove(job_id)

    def _path(self, job_id: int) -> Path:
        return self._folder / f"job_id_{job_id}.json"


def create_app(answers: Answers, threads: Threads) -> Flask:
    """The application over a pool."""
    app = Flask(__name__)

    @app.post("/api/<statistic>")
    def submit(statistic: str) -> ResponseReturnValue:
        if statistic not in answers.of:
            return {"status": "error", "reason": "no such statistic"}, 404
        return {"job_id": threads.submit(statistic, request.get_json()), "status": "running"}, 202

    @app.get("/api/get_results/<int:job_id>")
    def result(job_id: int) -> ResponseReturnValue:
        return threads.result(job_id)

    return app


def main(port: int, data: Path, dataset: Path, folder: Path) -> None:
    """Serve until ended."""
    answers = Answers(data, dataset)
    threads = Threads(answers, folder, os.cpu_count() or 1)
    create_app(answers, threads).run("127.0.0.1", port, threaded=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), *map(Path, sys.argv[2:5]))
