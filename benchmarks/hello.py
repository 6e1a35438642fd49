"""The smallest Flask application that reads a JSON body and answers with JSON."""

from flask import Flask, request

app = Flask(__name__)


@app.post("/hello")
def hello() -> dict[str, str]:
    """Greet whoever is named."""
    return {"hello": request.get_json()["name"]}
