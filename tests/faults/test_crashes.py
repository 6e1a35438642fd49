"""A crash at every single step between accept and the last flush, counted through."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.servers import ROOT


def test_what_was_promised_holds_whichever_step_the_server_is_killed_at(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.crashes", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        timeout=400,
        check=True,
    )
    told = json.loads(done.stdout)
    assert told["wrong"] == []
    assert told["steps"] > 100, "the steps were not counted"
    assert told["killed"] > 0.9 * told["steps"], "the lives were not ended where they should be"
    assert {"0 promised", "1 promised", "2 promised"} <= told.keys()
