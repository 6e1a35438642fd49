"""The addresses of a job's answer: a table, as JSON and as CSV, and a picture."""

import csv
import io
from collections.abc import Iterator

import pytest

from server.stats import STATISTICS
from tests.support.backends import Settings
from tests.support.servers import FOR_TESTS, RunningServer, running_server

EXAMPLE = dict(STATISTICS["mean_by_category"].example)


@pytest.fixture(scope="module")
def server(backend: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("answers")
    with running_server(folder, configuration=FOR_TESTS, **backend) as running:
        yield running


@pytest.fixture(scope="module")
def job(server: RunningServer) -> int:
    """A job that has ended well."""
    job_id = server.submit("mean_by_category", **EXAMPLE)
    assert server.result(job_id)["status"] == "done"
    return job_id


@pytest.mark.parametrize("name", STATISTICS)
def test_every_example_has_a_table_a_file_and_a_picture(server: RunningServer, name: str) -> None:
    job_id = server.submit(name, **STATISTICS[name].example)
    assert server.result(job_id)["status"] == "done"
    table = server.get(f"/api/jobs/{job_id}/table")["data"]
    assert table["rows"]
    content = server.ask("GET", f"/api/jobs/{job_id}/table?format=csv").content.decode()
    header, *rows = csv.reader(io.StringIO(content, newline=""), strict=True)
    assert header == table["columns"]
    assert rows == [[as_text(cell) for cell in row] for row in table["rows"]]
    spec = server.get(f"/api/jobs/{job_id}/chart")["data"]
    assert spec["$schema"].endswith("/vega-lite/v6.json")
    assert spec["data"]["name"] == "answer"
    assert spec["data"]["values"]


def as_text(cell: object) -> str:
    match cell:
        case None:
            return ""
        case bool():
            return str(cell).lower()
    return str(cell)


def test_the_table_has_the_figures_of_the_answer(server: RunningServer, job: int) -> None:
    data = server.get(f"/api/get_results/{job}")["data"]
    table = server.get(f"//api/jobs/job_id_{job}/table")
    assert table["status"] == "done"
    assert table["data"]["columns"] == ["state", "category", "stratum", "mean"]
    assert {str(tuple(row[:3])): row[3] for row in table["data"]["rows"]} == data


def test_the_file_is_one_to_download(server: RunningServer, job: int) -> None:
    answer = server.ask("GET", f"/api/jobs/{job}/table?format=csv")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="job_id_{job}.csv"'
    assert answer.content.startswith(b"state,category,stratum,mean\r\n")
    head = server.ask("HEAD", f"/api/jobs/{job}/table?format=csv")
    assert (head.status, head.content) == (200, b"")


@pytest.mark.parametrize("path", ["table", "chart"])
def test_a_job_without_an_answer_is_409_and_no_job_404(server: RunningServer, path: str) -> None:
    running = server.submit("wait_for_file", path=str(server.results.parent / f"gate {path}"))
    told = server.ask("GET", f"/api/jobs/{running}/{path}")
    assert told.status == 409
    assert told.json == {"status": "error", "reason": f"job {running} has not ended"}
    assert server.ask("DELETE", f"/api/jobs/{running}").status == 200
    told = server.ask("GET", f"/api/jobs/{running}/{path}")
    assert (told.status, told.json["reason"]) == (409, f"job {running} was cancelled")
    for unknown in ("999999", "x", "1/2", "table", "%20"):
        assert server.ask("GET", f"/api/jobs/{unknown}/{path}").status == 404


def test_what_an_address_does_not_know_is_refused(server: RunningServer, job: int) -> None:
    assert server.ask("GET", f"/api/jobs/{job}/table?format=xml").status == 400
    assert server.ask("GET", f"/api/jobs/{job}/table?as=csv").status == 400
    refused = server.ask("DELETE", f"/api/jobs/{job}/table")
    assert refused.status == 405
    assert "GET" in refused.headers["allow"]
    assert server.ask("GET", f"/api/jobs/{job}/tables").status == 404
