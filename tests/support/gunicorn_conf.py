"""The project's own gunicorn configuration, for the application with statistics for tests."""

import runpy
from pathlib import Path

from tests.support.wsgi import application

_root = Path(__file__).resolve().parent.parent.parent
globals().update(
    {
        name: value
        for name, value in runpy.run_path(str(_root / "gunicorn.conf.py")).items()
        if not name.startswith("_")
    }
)

wsgi_app = "tests.support.wsgi:application"


def post_worker_init(worker):
    application.start(settings, worker)  # noqa: F821 - from the real configuration


def worker_exit(server, worker):
    application.stop()
