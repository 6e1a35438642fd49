"""gunicorn for the Flask hello: the server's own settings, without its jobs."""

import runpy
from pathlib import Path

_same = runpy.run_path(str(Path(__file__).resolve().parent.parent / "gunicorn.conf.py"))
worker_class = _same["worker_class"]
workers = _same["workers"]
threads = _same["threads"]
keepalive = _same["keepalive"]
control_socket_disable = True

wsgi_app = "benchmarks.hello:app"
