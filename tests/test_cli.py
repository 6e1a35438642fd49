"""The program `sportiv` against a live server: what it prints, and with which code it leaves."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.programs import SPORTIV, environment, on_terminal, sportiv
from tests.support.proxies import ask_of, listening, passed_on
from tests.support.servers import (
    FOR_TESTS,
    ROOT,
    RunningServer,
    free_port,
    running_server,
    wait_for,
)

OBESITY = "Percent of adults aged 18 years and older who have obesity"
PART = "have obesity"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that several tests ask; it also knows the statistics that misbehave on demand."""
    with running_server(tmp_path_factory.mktemp("server"), configuration=FOR_TESTS) as running:
        yield running


# -- asking ---------------------------------------------------------------------------


def test_an_answer_is_a_table(server: RunningServer) -> None:
    done = sportiv("ask", "best5", "--question", PART, server=server)
    assert (done.code, done.errors) == (0, "")
    first, *rest = done.lines
    assert first.split() == ["state", "mean"]
    data = server.data("best5", question=OBESITY)
    assert [line.split() for line in rest] == [[name, f"{x:.6g}"] for name, x in data.items()]


def test_an_answer_as_json_is_the_data(server: RunningServer) -> None:
    done = sportiv("ask", "best5", "--question", PART, "--json", server=server)
    assert (done.code, done.errors) == (0, "")
    assert done.json == server.data("best5", question=OBESITY)
    assert list(done.json) == list(server.data("best5", question=OBESITY))


def test_an_answer_as_csv_is_the_servers(server: RunningServer) -> None:
    done = sportiv("ask", "best5", "--question", PART, "--csv", server=server)
    job = int(server.get("/api/history?limit=1")["data"][0]["job_id"])
    assert done.code == 0
    table = server.ask("GET", f"/api/jobs/{job}/table?format=csv")
    assert done.out == table.content.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("name", "begins"), [("a.svg", b"<svg"), ("a.png", b"\x89PNG"), ("a.pdf", b"%PDF")]
)
def test_an_answer_is_drawn(
    server: RunningServer, tmp_path: Path, name: str, begins: bytes
) -> None:
    path = tmp_path / name
    done = sportiv("ask", "best5", "--question", PART, "--plot", path, server=server)
    assert (done.code, done.errors) == (0, f"written: {path}\n")
    assert done.lines[0].split() == ["state", "mean"]
    content = path.read_bytes()
    assert content.startswith(begins)
    if name.endswith("svg"):
        assert b"Mississippi" in content


def test_a_picture_that_cannot_be_is_refused_before_anything_is_asked(
    server: RunningServer, tmp_path: Path
) -> None:
    before = numbers(server)
    for path in (tmp_path / "a.gif", tmp_path / "missing" / "a.svg"):
        done = sportiv("ask", "best5", "--question", PART, "--plot", path, server=server)
        assert done.code == 2
        assert str(path.parent if path.suffix == ".svg" else path) in done.errors
    assert numbers(server) == before


def test_filters_narrow_the_answer(server: RunningServer) -> None:
    wanted = server.data(
        "mean_by_category", question=OBESITY, years=[2015, 2016], states=["Ohio", "Oregon"]
    )
    for years in (["--years", "2015", "2016"], ["--years", "2015-2016"], ["--years=2015-2016"]):
        filters = [*years, "--states", "ohio", "--states", "oregon"]
        asked = sportiv(
            "ask", "mean_by_category", "--question", PART, *filters, "--json", server=server
        )
        assert asked.json == wanted
    alone = sportiv(
        "ask", "global_mean", "--question", PART, "--years", "2015", "--json", server=server
    )
    assert alone.json == server.data("global_mean", question=OBESITY, years=[2015, 2015])


def test_a_name_is_told_apart_by_its_part(server: RunningServer) -> None:
    one = ["ask", "state_mean", "--question", PART, "--json", "--state"]
    assert list(sportiv(*one, "OHIO", server=server).json) == ["Ohio"]
    several = sportiv(*one, "car", server=server)
    assert several.code == 2
    assert "2 names of a state contain 'car':\n  North Carolina\n  South Carolina" in several.errors
    none = sportiv(*one, "Ohoi", server=server)
    assert none.code == 2
    assert "no state 'Ohoi'; nearest: 'Ohio'" in none.errors


def test_a_statistic_that_only_the_server_knows_can_be_asked_for(server: RunningServer) -> None:
    assert sportiv("ask", "echo", "--value", "[1, 2]", "--json", server=server).json == [1, 2]
    assert sportiv("ask", "echo", "--value", "a text", "--json", server=server).json == "a text"


def test_what_is_not_waited_for_can_be_read_later(server: RunningServer) -> None:
    asked = sportiv("ask", "echo", "--value", "7", "--no-wait", server=server)
    job_id = int(asked.out)
    assert sportiv("result", job_id, "--json", server=server).json == 7
    assert sportiv("result", f"job_id_{job_id}", "--json", server=server).json == 7


# -- how it ends ----------------------------------------------------------------------


def test_a_failed_job_is_code_1(server: RunningServer) -> None:
    done = sportiv("ask", "fail", "--value", "on purpose", server=server)
    assert (done.code, done.out) == (1, "")
    assert "has failed: " in done.errors
    assert "on purpose" in done.errors


def test_wrong_usage_and_a_refusal_are_code_2(server: RunningServer) -> None:
    missing = sportiv("ask", "best5", server=server)
    assert missing.code == 2
    assert "Missing option '--question'" in missing.errors
    unknown = sportiv("ask", "best6", "--question", PART, server=server)
    assert unknown.code == 2
    assert "there is no statistic 'best6'; nearest: best5" in unknown.errors
    bound = sportiv("ask", "trend", "--question", PART, "--confidence", "1", server=server)
    assert bound.code == 2
    assert "0<x<1" in bound.errors
    refused = sportiv("ask", "best5", "--question", PART, "--years", "1800", "1801", server=server)
    assert refused.code == 2
    assert "the table has no year from 1800 to 1801" in refused.errors
    assert sportiv("result", "10000000", server=server).code == 2
    assert sportiv("result", "seven", server=server).code == 2


def test_no_server_is_code_3_and_says_so_at_once() -> None:
    where = f"http://127.0.0.1:{free_port()}"
    done = sportiv("states", SPORTIV_URL=where)
    assert done.code == 3
    assert done.errors.startswith(
        f"sportiv: no Sportiv Stats server answers at {where}: Connection refused\n"
    )
    assert "sportiv serve" in done.errors


def test_a_wait_that_is_too_short_is_code_4(server: RunningServer, tmp_path: Path) -> None:
    path = tmp_path / "gate"
    done = sportiv("ask", "wait_for_file", "--path", path, "--timeout", "0.1", server=server)
    assert (done.code, done.out) == (4, "")
    assert "has not ended within 0.1 s; it goes on" in done.errors
    path.touch()


def test_a_job_that_somebody_else_cancels_is_code_5(server: RunningServer, tmp_path: Path) -> None:
    path = tmp_path / "gate"
    command = [SPORTIV, "ask", "wait_for_file", "--path", str(path)]
    with subprocess.Popen(
        command, env=environment(server), cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as asking:
        wait_for(Path(f"{path}.begun").exists, "the job has begun")
        (job_id,) = running(server)
        cancelled = sportiv("cancel", job_id, server=server)
        assert (cancelled.code, cancelled.out) == (0, f"job {job_id} is cancelled\n")
        _, errors = asking.communicate(timeout=60)
    assert asking.returncode == 5
    assert errors == f"sportiv: job {job_id} was cancelled\n"
    again = sportiv("cancel", job_id, 10**7, server=server)
    assert again.code == 2
    assert again.out == f"job {job_id} is cancelled\n"
    assert "there is no job 10000000" in again.errors


def running(server: RunningServer) -> list[int]:
    listed = server.get("/api/jobs?status=running")["data"]
    return [int(name.removeprefix("job_id_")) for entry in listed for name in entry]


def test_an_interrupt_cancels_the_job_and_is_code_130(
    server: RunningServer, tmp_path: Path
) -> None:
    path = tmp_path / "gate"
    command = [SPORTIV, "ask", "wait_for_file", "--path", str(path)]
    with on_terminal(*command, server=server) as terminal:
        wait_for(Path(f"{path}.begun").exists, "the job has begun")
        (job_id,) = running(server)
        terminal.wait_for(f"job {job_id}: wait_for_file")
        terminal.press("\x03")
        assert terminal.end() == 130
        assert f"cancelled job {job_id}" in terminal.text
    assert server.get(f"/api/jobs/{job_id}")["data"]["state"] == "cancelled"


def test_an_interrupt_before_the_job_has_a_number_cancels_it_too(
    server: RunningServer, tmp_path: Path
) -> None:
    asked: list[bytes] = []

    def keep_the_first_answer(connection: socket.socket) -> None:
        request = ask_of(connection)
        content = passed_on(request, server.port)
        if request.startswith(b"POST"):
            asked.append(content)
            if len(asked) == 1:
                connection.recv(1)  # until the program has had enough of waiting
                return
        connection.sendall(content)

    command = [SPORTIV, "ask", "wait_for_file", "--path", str(tmp_path / "gate")]
    with listening(keep_the_first_answer) as port:
        url = f"http://127.0.0.1:{port}"
        with on_terminal(*command, SPORTIV_URL=url) as terminal:
            wait_for(lambda: asked, "the server has accepted the job")
            terminal.press("\x03")
            assert terminal.end() == 130
    job_id = json.loads(asked[0].partition(b"\r\n\r\n")[2])["job_id"]
    assert f"cancelled job {job_id}" in terminal.text
    assert server.get(f"/api/jobs/{job_id}")["data"]["state"] == "cancelled"


def test_an_interrupt_that_the_interpreter_loses_is_heeded_all_the_same(
    run_python: Callable[..., str],
) -> None:
    code = (
        "import io, signal\n"
        "from server.cli.session import heeding_interrupts\n"
        "class Freed(io.RawIOBase):\n"
        "    def close(self):\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "with heeding_interrupts() as check:\n"
        "    Freed()\n"
        "    try:\n"
        "        check()\n"
        "    except KeyboardInterrupt:\n"
        "        print('heeded')\n"
    )
    assert run_python(code) == "heeded\n"


# -- terminals and pipes --------------------------------------------------------------


def test_a_terminal_shows_progress_and_colours_only_where_they_are_wanted(
    server: RunningServer,
) -> None:
    command = [SPORTIV, "ask", "sum_of_squares", "--value", "200", "--seconds", "0.01"]
    with on_terminal(*command, server=server) as terminal:
        terminal.wait_for("sum_of_squares")
        assert terminal.end() == 0
        assert "%" in terminal.text
        assert terminal.shown != terminal.text
    with on_terminal(
        SPORTIV, "ask", "best5", "--question", PART, server=server, NO_COLOR="1"
    ) as terminal:
        assert terminal.end() == 0
        assert "Mississippi" in terminal.text
        assert not any(f"\x1b[{colour}" in terminal.shown for colour in (31, 32, 33, 35, 36))


def test_a_reader_that_has_enough_is_no_error(server: RunningServer) -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {SPORTIV} ask mean_by_category -h | head -1"],
        env=environment(server),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout == "Usage: sportiv ask mean_by_category [OPTIONS]\n"


def test_the_token_is_taken_from_the_environment(tmp_path: Path) -> None:
    token = "a-secret-of-this-test"
    with running_server(tmp_path, SPORTIV_TOKEN=token) as locked:
        refused = sportiv("states", "ohio", server=locked)
        assert refused.code == 2
        assert "SPORTIV_TOKEN" in refused.errors
        assert sportiv("states", "ohio", server=locked, SPORTIV_TOKEN=token).out == "Ohio\n"
        assert sportiv("--token", token, "states", "ohio", server=locked).out == "Ohio\n"


# -- what there is --------------------------------------------------------------------


def test_the_lists_can_be_narrowed_and_read_by_programs(server: RunningServer) -> None:
    assert sportiv("states", server=server).lines == server.get("/api/states")["data"]
    assert sportiv("states", "carolina", "--json", server=server).json == [
        "North Carolina",
        "South Carolina",
    ]
    found = sportiv("questions", PART, server=server).lines
    assert len(found) == 2
    assert found[1].startswith(f"{OBESITY}  ")
    every = sportiv("questions", "--json", server=server).json
    assert every == server.get("/api/questions")["data"]
    listed = sportiv("statistics", server=server)
    assert "best5" in {line.split()[0] for line in listed.lines}


def test_jobs_are_listed_newest_first(server: RunningServer) -> None:
    ids = [server.submit("echo", value=n) for n in range(3)]
    for job_id in ids:
        server.result(job_id)
    found = sportiv("jobs", "--limit", "2", "--statistic", "echo", "--json", server=server).json
    assert [record["job_id"] for record in found] == ids[:0:-1]
    lines = sportiv("jobs", "--limit", "1", "--status", "done", server=server).lines
    assert lines[0].split() == ["id", "statistic", "state", "accepted", "seconds", "question"]
    assert lines[1].split()[:3] == [str(ids[-1]), "echo", "done"]
    assert sportiv("jobs", "--status", "odd", server=server).code == 2


def test_watching_once_shows_every_worker_and_what_it_is_at(
    server: RunningServer, tmp_path: Path
) -> None:
    path = tmp_path / "gate"
    job_id = server.submit("wait_for_file", path=str(path))
    wait_for(Path(f"{path}.begun").exists, "the job has begun")
    done = sportiv("watch", "--once", server=server)
    path.touch()
    assert done.code == 0
    assert "1 of 2 workers busy (process)" in done.lines[0]
    busy = [line.split() for line in done.lines if "wait_for_file" in line]
    assert [words[:4] for words in busy] == [
        [Path(f"{path}.begun").read_text(), "busy", str(job_id), "wait_for_file"]
    ]


def test_watching_goes_on_until_an_interrupt(server: RunningServer) -> None:
    with on_terminal(SPORTIV, "watch", "--interval", "0.1", server=server) as terminal:
        terminal.wait_for("jobs/s")
        terminal.press("\x03")
        assert terminal.end() == 0
    assert str(server.worker_pids()[0]) in terminal.text


# -- batches --------------------------------------------------------------------------


def lines_of(*requests: object) -> str:
    return "".join(json.dumps(request) + "\n" for request in requests)


def test_a_batch_has_one_line_for_each_of_its_jobs(server: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "batch.jsonl"
    questions = [
        {"statistic": "global_mean", "question": PART},
        {"statistic": "fail", "value": "as it must"},
        {"statistic": "echo", "value": "so"},
    ]
    file.write_text(lines_of(*questions).replace("\n", "\n\n", 1))
    done = sportiv("batch", file, server=server)
    assert done.code == 1
    first, second, third = map(json.loads, done.lines)
    assert first["data"] == server.data("global_mean", question=OBESITY)
    assert (second["line"], second["status"]) == (3, "error")
    assert "as it must" in second["reason"]
    assert third == {
        "line": 4,
        "job_id": second["job_id"] + 1,
        "statistic": "echo",
        "status": "done",
        "data": "so",
    }


def test_more_than_a_hundred_lines_are_taken_from_a_pipe(server: RunningServer) -> None:
    questions = [{"statistic": "echo", "value": n} for n in range(230)]
    done = sportiv("batch", "-", server=server, typed=lines_of(*questions))
    assert (done.code, done.errors) == (0, "")
    assert [json.loads(line)["data"] for line in done.lines] == list(range(230))
    assert sportiv("batch", "-", server=server).code == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"statistic": "echo"', "line 3: is not JSON"),
        ('["echo"]', 'line 3: is no object with a "statistic"'),
        ('{"statistic": "ecko"}', "line 3: there is no statistic 'ecko'"),
        ('{"statistic": "best5"}', "line 3: best5 needs the field 'question'"),
        ('{"statistic": "best5", "queston": 1}', "line 3: best5 has no field 'queston'"),
        ('{"statistic": "best5", "question": "adults"}', "line 3: 9 names of a question contain"),
        ('{"statistic": "best5", "question": "obesty"}', "line 3: no question 'obesty'; nearest"),
        ('{"statistic": "echo", "priority": 10}', "line 3: Expected `int` <= 9"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_asked(
    server: RunningServer, line: str, words: str
) -> None:
    before = numbers(server)
    good = lines_of({"statistic": "echo"})
    done = sportiv("batch", "-", server=server, typed=f"{good}{good}{line}\n{good}")
    assert (done.code, done.out) == (2, "")
    assert words in done.errors
    assert numbers(server) == before


def test_a_bad_line_far_down_leaves_no_job_to_run(server: RunningServer, tmp_path: Path) -> None:
    good = {"statistic": "wait_for_file", "path": str(tmp_path / "gate")}
    typed = lines_of(*[good] * 120, {"statistic": "echo", "priority": 10})
    last = max([0, *numbers(server)])
    done = sportiv("batch", "-", server=server, typed=typed)
    assert done.code == 2
    assert "line 121: Expected `int` <= 9" in done.errors
    after = server.get(f"/api/jobs?after={last}")["data"]
    assert [state for entry in after for state in entry.values()] == ["error"] * 100


def numbers(server: RunningServer) -> list[int]:
    """The numbers of all jobs."""
    listed = server.get("/api/jobs")["data"]
    return [int(name.removeprefix("job_id_")) for entry in listed for name in entry]


def test_an_interrupt_cancels_the_whole_batch(server: RunningServer, tmp_path: Path) -> None:
    file, gate = tmp_path / "batch.jsonl", tmp_path / "gate"
    slow = {"statistic": "wait_for_file", "path": str(gate)}
    file.write_text(lines_of(slow, slow, slow))
    with on_terminal(SPORTIV, "batch", str(file), server=server) as terminal:
        terminal.wait_for("3 jobs")
        wait_for(Path(f"{gate}.begun").exists, "a job has begun")
        terminal.press("\x03")
        assert terminal.end() == 130
    assert "cancelled jobs " in terminal.text
    assert running(server) == []


# -- starting and ending a server -----------------------------------------------------


def test_serving_and_shutting_down(tmp_path: Path) -> None:
    port = free_port()
    options = {
        "--bind": f"127.0.0.1:{port}",
        "--workers": "1",
        "--results-dir": tmp_path / "results",
        "--log-dir": tmp_path / "logs",
        "--data": ROOT / "data" / "sample.csv.gz",
    }
    command = [SPORTIV, "serve", *(str(word) for pair in options.items() for word in pair)]
    url = {"SPORTIV_URL": f"http://127.0.0.1:{port}"}
    errors = tmp_path / "errors.txt"
    with (
        errors.open("wb") as to,
        subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=to, stderr=to) as serving,
    ):
        try:
            assert sportiv("--patience", "60", "states", "ohio", **url).out == "Ohio\n", errors
            assert len(sportiv("watch", "--once", **url).lines) == 3
            done = sportiv("shutdown", "--wait", **url)
            assert done.out == "no new jobs are taken, and all accepted ones have ended\n"
            refused = sportiv("--patience", "0", "ask", "best5", "--question", PART, **url)
            assert refused.code == 2
            assert "shutting down" in refused.errors
        finally:
            serving.send_signal(signal.SIGINT)
        assert serving.wait(60) == 0


def test_a_setting_that_is_wrong_is_named_before_anything_starts() -> None:
    done = sportiv("serve", "--workers", "none")
    assert done.code == 2
    assert "SPORTIV_WORKERS='none' is not allowed: a whole number" in done.errors
    assert sportiv("serve", "--token", "x").code == 2


def test_a_package_without_its_configuration_says_where_to_serve_from(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    code = (
        "import sys, click\n"
        "from pathlib import Path\n"
        "from server.cli.serve import configuration\n"
        "try:\n"
        "    configuration(Path(sys.argv[1]))\n"
        "except click.UsageError as error:\n"
        "    print(error.message)\n"
    )
    said = run_python(code, tmp_path)
    assert f"gunicorn.conf.py does not lie in {tmp_path}" in said
    assert "checkout" in said


def test_shutting_down_waits_for_accepted_jobs(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with running_server(tmp_path / "server", configuration=FOR_TESTS) as server:
        job_id = server.submit("wait_for_file", path=str(gate), value=1)
        at_once = sportiv("shutdown", server=server)
        assert at_once.out == "no new jobs are taken; accepted ones still run\n"
        with subprocess.Popen(
            [SPORTIV, "shutdown", "--wait"],
            env=environment(server),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as waiting:
            gate.touch()
            out, _ = waiting.communicate(timeout=60)
        assert out == "no new jobs are taken, and all accepted ones have ended\n"
        assert server.get(f"/api/get_results/{job_id}")["status"] == "done"


# -- quick to start -------------------------------------------------------------------

LOADED = (
    "import json, sys\n"
    "from server.cli.program import run\n"
    "code = run(sys.argv[1:])\n"
    "print(json.dumps(sorted(sys.modules)))\n"
)


@pytest.mark.parametrize("arguments", [["--help"], ["jobs", "--help"], ["serve", "--help"]])
def test_help_loads_nothing_heavy(run_python: Callable[..., str], arguments: list[str]) -> None:
    loaded = set(json.loads(run_python(LOADED, *arguments).splitlines()[-1]))
    assert loaded.isdisjoint({"numpy", "scipy", "flask", "polars", "urllib3", "rich", "gunicorn"})


def test_every_command_says_what_it_does_and_the_program_its_codes() -> None:
    done = sportiv("--help")
    assert done.code == 0
    for code in (0, 1, 2, 3, 4, 5, 130):
        assert f"\n  {code} " in done.out
    names = done.out.partition("Commands:\n")[2].partition("\n\n")[0]
    for line in names.splitlines():
        shown = sportiv(line.split()[0], "--help")
        assert shown.code == 0
        assert shown.out.startswith(f"Usage: sportiv {line.split()[0]}")


def test_the_module_is_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "server.cli", "--version"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == sportiv("--version").out
    assert done.stdout.startswith("sportiv ")
