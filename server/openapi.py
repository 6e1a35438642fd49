"""The description of the API, OpenAPI 3.1: made of the catalogue, the routes and the errors.

What the table of data knows (questions, states, years, ...) stands in it as the names and
bounds that requests may use, so that a request that fits it is accepted, but for rules
between several fields, which only sentences tell.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

import server
from server import answers
from server.catalogue import Catalogue
from server.errors import ShuttingDown, SportivError
from server.http_input import MOST_IN_BATCH
from server.job_routes import SUBMIT
from server.request_fields import VOCABULARY
from server.route import (
    BEFORE_ALL,
    EVERYWHERE,
    HEADERS,
    HEADERS_OF_ERRORS,
    JSON,
    PROBLEM,
    TAGS,
    Route,
)
from server.routes import ROUTES
from server.stats.statistic import Json, Statistic

Schema = dict[str, Any]

_TEMPLATE = "#/components/schemas/{name}"
_NAMES = {"question": "Question", "location": "State", "category": "Category", "stratum": "Stratum"}
_ABOUT = """\
Each POST to a statistic is a job: 202 with its number, and its result at the address in \
`Location`. Numbers of results are JSON numbers with a fraction, or `null` where there is no row.

Every error has the body `{"status": "error", "reason": "..."}` or, where `Accept` asks for \
`application/problem+json`, that of RFC 9457. An address that does not exist \
is 404; a method that an address does not have is 405, and `Allow` names those it has. What is \
answered to GET is answered to HEAD, without the body; OPTIONS names the methods. An address may \
begin with more than one slash."""
_TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "description": "Needed where the server has one (`SPORTIV_TOKEN`); else there is none.",
}
_MISTAKE = "The server has made a mistake; its log says more."


def describe(catalogue: Catalogue, *, longest_job: float, longest_body: int) -> dict[str, Json]:
    """The document, ready to be encoded.

    `longest_job` is how many seconds a request may give its job at most, `longest_body` how
    many bytes it may have.
    """
    statistics = catalogue.statistics.values()
    schemas = _Schemas([*_types(ROUTES), *(each.request for each in statistics)])
    for each in statistics:
        _narrow(schemas.component(each.request), catalogue, longest_job)
    vocabularies = {name: _vocabulary(catalogue, key) for key, name in _NAMES.items()}
    paths: dict[str, dict[str, Json]] = {}
    for each in statistics:
        paths[f"/api/{each.name}"] = {"post": _submit(each, schemas, longest_body)}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    paths["/api/batch"]["post"] |= _body_of(_batch(catalogue, schemas), longest_body)
    for path in ("/api/jobs", "/api/history"):
        _name_statistics(paths[path]["get"], list(catalogue.statistics))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sportiv Stats",
            "version": server.__version__,
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": about} for name, about in TAGS.items()],
        "paths": paths,
        "security": [{}, {"token": []}],
        "components": {
            "schemas": dict(sorted((schemas.components | vocabularies).items())),
            "securitySchemes": {"token": _TOKEN},
        },
    }


class _Schemas:
    """The schemas of types; those of structs stand among the components."""

    def __init__(self, types: Iterable[Any]) -> None:
        kinds = list(types)
        made, self.components = msgspec.json.schema_components(kinds, ref_template=_TEMPLATE)
        self._of = list(zip(kinds, made, strict=True))

    def of(self, kind: Any) -> Schema:
        """The schema of one of the types."""
        return next(dict(schema) for known, schema in self._of if known is kind)

    def component(self, struct: type[msgspec.Struct]) -> Schema:
        """The schema itself of a struct, to be changed in its place."""
        name: str = self.of(struct)["$ref"].rpartition("/")[2]
        component: Schema = self.components[name]
        return component


def _types(routes: Iterable[Route]) -> Iterable[Any]:
    yield from (answers.Error, answers.ShutDown, answers.Problem)
    yield from (kind for kind, _ in HEADERS.values())
    for route in (SUBMIT, *routes):
        yield from (answer.type for answer in route.answers.values())
        yield from (parameter.type for parameter in route.parameters)


# -- requests -------------------------------------------------------------------------


def _narrow(schema: Schema, catalogue: Catalogue, longest_job: float) -> None:
    """Put what the table and the settings allow into the schema of a request."""
    for name, field in schema["properties"].items():
        if name in VOCABULARY:
            reference = _TEMPLATE.format(name=_NAMES[VOCABULARY[name][1]])
            _replace(field, {"type": "string"}, {"$ref": reference})
    _replace(
        schema["properties"]["timeout_s"],
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "number", "exclusiveMinimum": 0, "maximum": longest_job},
    )
    for choice in schema["properties"].get("years", {}).get("anyOf", ()):
        if choice["type"] == "array" and catalogue.years:
            choice["anyOf"] = [
                {"prefixItems": [{"maximum": year}, {"minimum": year}]} for year in catalogue.years
            ]


def _replace(schema: Schema, what: Schema, by: Schema) -> None:
    """Put `by` in the place of what `schema` says as `what`, wherever in it that stands."""
    if schema.items() >= what.items():
        for name in what:
            del schema[name]
        schema.update(by)
        return
    for part in ("anyOf", "prefixItems", "items"):
        inner = schema.get(part)
        for each in inner if isinstance(inner, list) else [inner]:
            if isinstance(each, dict):
                _replace(each, what, by)


def _vocabulary(catalogue: Catalogue, key: str) -> Schema:
    names = catalogue.accepted_names(key)
    about = f"A {'state' if key == 'location' else key} of the table, or another name of one."
    return {"type": "string", "description": about, "enum": names}


def _submit(statistic: Statistic, schemas: _Schemas, longest_body: int) -> dict[str, Json]:
    return _operation(
        SUBMIT, schemas, name=statistic.name, summary=statistic.summary, about=_about(statistic)
    ) | _body_of(schemas.of(statistic.request), longest_body, statistic.example)


def _body_of(
    schema: Schema, longest_body: int, example: Mapping[str, Json] | None = None
) -> dict[str, Json]:
    content = {"schema": schema, **({"example": dict(example)} if example else {})}
    return {
        "requestBody": {
            "required": True,
            "description": f"At most {longest_body} bytes, not compressed.",
            "content": {JSON: content},
        }
    }


def _batch(catalogue: Catalogue, schemas: _Schemas) -> Schema:
    """The schema of a batch: each job is a request of its statistic, which it names."""
    for each in catalogue.statistics.values():
        item = copy.deepcopy(schemas.component(each.request))
        item["title"] = f"Batch_{each.name}"
        item["properties"] = {"statistic": {"const": each.name}} | item["properties"]
        item["required"] = ["statistic", *item["required"]]
        schemas.components[item["title"]] = item
    items = [{"$ref": _TEMPLATE.format(name=f"Batch_{name}")} for name in catalogue.statistics]
    jobs = {"type": "array", "minItems": 1, "maxItems": MOST_IN_BATCH, "items": {"anyOf": items}}
    return {
        "type": "object",
        "properties": {"jobs": jobs},
        "required": ["jobs"],
        "additionalProperties": False,
    }


def _name_statistics(operation: dict[str, Json], names: list[str]) -> None:
    """Say which statistics the parameter of that name may have."""
    for parameter in operation["parameters"]:
        if parameter["name"] == "statistic":
            parameter["schema"] = {"type": "string", "enum": names}


def _about(statistic: Statistic) -> str:
    shape, _, notes = (statistic.partial.__doc__ or "").partition("\n\n")
    paragraphs = [
        f"`data` of the result: {_on_one_line(shape)}",
        *map(_on_one_line, notes.split("\n\n") if notes else ()),
        f"Formula: {statistic.formula}" if statistic.formula else "",
        f"Source: {statistic.source}" if statistic.source else "",
    ]
    return "\n\n".join(filter(None, paragraphs))


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


# -- operations -----------------------------------------------------------------------


def _operation(
    route: Route, schemas: _Schemas, *, name: str = "", summary: str = "", about: str = ""
) -> dict[str, Json]:
    found: dict[str, Json] = {
        "operationId": name or route.name,
        "tags": [route.tag],
        "summary": summary or route.summary,
        "responses": _responses(route, schemas),
    }
    if text := about or route.about:
        found["description"] = text
    if route.parameters:
        found["parameters"] = [
            {
                "name": each.name,
                "in": each.place,
                "required": each.place == "path",
                "description": each.about,
                "schema": schemas.of(each.type),
            }
            for each in route.parameters
        ]
    return found


def _responses(route: Route, schemas: _Schemas) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for status, answer in route.answers.items():
        found[str(status)] = {
            "description": answer.about,
            "headers": _headers(answer.headers, schemas),
            "content": {each: {"schema": schemas.of(answer.type)} for each in answer.medias}
            | ({answer.text: {"schema": {"type": "string"}}} if answer.text else {}),
            "links": _links(route.links) if answer.type is answers.Accepted else {},
        }
    for status, errors in sorted(_by_status((*route.errors, *EVERYWHERE)).items()):
        found[str(status)] = _error(status, errors, schemas)
    for status, sentence in BEFORE_ALL.items():
        found.setdefault(str(status), _error(status, [], schemas) | {"description": sentence})
    found["500"] = _error(500, [], schemas)
    found = dict(sorted(found.items()))
    return {status: {k: v for k, v in each.items() if v} for status, each in found.items()}


def _by_status(errors: Iterable[type[SportivError]]) -> dict[int, list[type[SportivError]]]:
    found: dict[int, list[type[SportivError]]] = {}
    for error in errors:
        found.setdefault(error.status, []).append(error)
    return found


def _error(status: int, errors: list[type[SportivError]], schemas: _Schemas) -> dict[str, Json]:
    kinds = [schemas.of(answers.Error)]
    if ShuttingDown in errors:
        kinds.append(schemas.of(answers.ShutDown))
    sentences = (_on_one_line((each.__doc__ or "").partition("\n\n")[0]) for each in errors)
    return {
        "description": " ".join(sentences) or _MISTAKE,
        "headers": _headers(HEADERS_OF_ERRORS.get(status, ()), schemas),
        "content": {
            JSON: {"schema": kinds[0] if len(kinds) == 1 else {"anyOf": kinds}},
            PROBLEM: {"schema": schemas.of(answers.Problem)},
        },
    }


def _headers(names: Iterable[str], schemas: _Schemas) -> dict[str, Json]:
    return {
        name: {"description": about, "required": True, "schema": schemas.of(kind)}
        for name in names
        for kind, about in [HEADERS[name]]
    }


def _links(links: Mapping[str, str]) -> dict[str, Json]:
    return {
        name: {"operationId": operation, "parameters": {"job_id": "$response.body#/job_id"}}
        for name, operation in links.items()
    }
