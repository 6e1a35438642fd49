"""HTTP: the application, put together of all addresses and of what every request goes through."""

from flask import Flask
from werkzeug.routing import BaseConverter

from server.chart_library import ChartLibrary
from server.dashboard import Dashboard
from server.error_replies import on_error
from server.guard import Guard, add_headers
from server.job_endpoints import add_jobs
from server.jobs import Jobs
from server.page_endpoints import add_page
from server.problems import as_problem
from server.request_log import watch_requests
from server.server_endpoints import add_server
from server.settings import Settings
from server.wire import MAX_BODY


class _AnyText(BaseConverter):
    """The rest of an address whatever it holds, line ends included."""

    regex = "(?s:.*)"
    part_isolating = False


class _JobText(_AnyText):
    """The same, but for the end of an address about a job's answer."""

    regex = r"(?s:(?!.*/(?:table|chart)\Z).*)"


def create_app(jobs: Jobs, settings: Settings) -> Flask:
    """The WSGI application that serves `jobs`; one address for each statistic it knows."""
    app = Flask(__name__, static_folder=None)
    app.url_map.merge_slashes = False
    app.url_map.converters |= {"any_text": _AnyText, "job_text": _JobText}
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    watch_requests(app, jobs)

    add_jobs(app, jobs)
    add_server(app, jobs, settings)
    add_page(app, Dashboard(ChartLibrary()))
    app.register_error_handler(Exception, on_error)
    app.before_request(Guard(settings).check)
    for step in (as_problem, add_headers):
        app.after_request(step)
    return app
