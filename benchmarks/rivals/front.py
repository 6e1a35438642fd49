"""The same Flask application in front of each queue: POST a job, then ask for its result."""

import os
from importlib import import_module

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue

app = Flask(__name__)
jobs = import_module(os.environ["RIVAL"])


@app.post("/api/<statistic>")
def submit(statistic: str) -> ResponseReturnValue:
    """Queue a job; its id."""
    job_id = jobs.submit(statistic, request.get_data(as_text=True))
    return {"job_id": job_id, "status": "running"}, 202


@app.get("/api/get_results/<job_id>")
def result(job_id: str) -> ResponseReturnValue:
    """The answer, once it is there."""
    answer = jobs.result(job_id)
    if answer is None:
        return {"status": "running"}
    return Response(f'{{"status":"done","data":{answer}}}', mimetype="application/json")
