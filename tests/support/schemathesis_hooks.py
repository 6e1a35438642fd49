"""What generated requests keep to beside the schemas: rules between fields, and modesty.

No schema of one field can say that two contradict each other. And a job that is given no
time costs a worker its life, after which `/healthz` may truly say 503 for a moment, while
millions of resamples only take a core from those who ask. Requests that are meant to be
invalid stay as they are.
"""

from itertools import count
from typing import Any

import schemathesis

from server.stats import STATISTICS

TWO_STATES = ["Ohio", "Michigan"]
ENOUGH_SECONDS = 100.0
FEW = 20

_keys = count(1)


@schemathesis.hook
def map_case(context: Any, case: Any) -> Any:
    """The case, with fields that agree with each other where it is to be a valid one."""
    valid = case.meta is not None and case.meta.generation.mode.is_positive
    if valid and isinstance(case.body, dict):
        case.body = agreeing_all(case.body, case.operation.path)
    if valid and case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"key-{next(_keys)}"  # no two requests have the same
    return case


def agreeing_all(body: dict[str, Any], path: str) -> dict[str, Any]:
    """The body of one job, or of a batch of a few."""
    if path != "/api/batch":
        return agreeing(modest(body, path), path)
    jobs = [agreeing_all(job, f"/api/{job['statistic']}") for job in body["jobs"][:FEW]]
    return {"jobs": jobs}


def modest(body: dict[str, Any], path: str) -> dict[str, Any]:
    """The body of a job that is soon done, and has the time for it."""
    most: dict[str, Any] = {}
    statistic = STATISTICS.get(path.removeprefix("/api/"))
    for name in ("n_resamples", "n_permutations"):
        if statistic and name in statistic.request.__struct_fields__:
            most[name] = min(body.get(name, FEW), FEW)
    if path == "/api/pairwise_permutation_test":
        most["states"] = TWO_STATES
    if body.get("timeout_s") is not None:
        most["timeout_s"] = max(body["timeout_s"], ENOUGH_SECONDS)
    return body | most


def agreeing(body: dict[str, Any], path: str) -> dict[str, Any]:
    """The body without contradictions: the words of the statistics say what these are."""
    body = dict(body)
    if body.get("category") is not None:
        body.pop("stratum", None)  # which may be another category's
    if body.get("states") is not None and body.get("state") is not None:
        body["states"] = [*body["states"][:999], body["state"]]
    if path == "/api/permutation_test":
        _give_two_groups(body)
    return body


def _give_two_groups(body: dict[str, Any]) -> None:
    strata = body.get("strata")
    if strata is None or strata[0] == strata[1]:
        body.pop("strata", None)
        body["states"] = TWO_STATES
    else:
        body.pop("stratum", None)
