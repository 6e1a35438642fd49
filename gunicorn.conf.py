"""How gunicorn runs the server: `gunicorn -c gunicorn.conf.py`. Settings: docs/settings.md."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from server import wsgi

settings = wsgi.read_settings()

wsgi_app = "server.wsgi:application"
bind = str(settings.bind)

# One process owns the jobs; everything that computes is its child, not gunicorn's.
workers = 1
worker_class = "server.patient_worker.PatientWorker"
threads = settings.threads
worker_connections = wsgi.most_connections()
preload_app = False
max_requests = 0

keepalive = 75
timeout = 60
graceful_timeout = int(settings.drain_timeout) + 10
control_socket_disable = True


def on_starting(server):
    wsgi.prepare_arbiter(server, settings)


def nworkers_changed(server, new_value, old_value):
    wsgi.refuse_more_workers(server, new_value, old_value)


def post_worker_init(worker):
    wsgi.application.start(settings, worker)


def worker_exit(server, worker):
    wsgi.application.stop()
