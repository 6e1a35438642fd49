"""The API's description as one page of HTML, made of the OpenAPI document and of nothing else.

No script, no font, no image, no link that leads away: a browser that shows it asks nobody.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

STYLE = """
:root { color-scheme: light dark; --ink: #1c2733; --paper: #fdfdfc; --soft: #5b6b7a;
  --line: #d6dde3; --box: #f1f4f6; --link: #0b5cad }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ed; --paper: #14191e; --soft: #9fb0be;
  --line: #34404b; --box: #1e262d; --link: #7cbcf7 } }
body { margin: 0 auto; max-width: 60rem; padding: 1rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, sans-serif }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--line) }
h3 { margin: 2.5rem 0 0; font-size: 1.1rem; overflow-wrap: anywhere }
h4 { margin: 1.25rem 0 .25rem; font-size: .9rem; color: var(--soft) }
a { color: var(--link) }
nav ul { columns: 17rem; padding-left: 1.1rem }
code, pre { font: .875rem/1.45 ui-monospace, monospace }
pre, details { background: var(--box); border: 1px solid var(--line); border-radius: .3rem;
  padding: .6rem .8rem; overflow-x: auto }
details { margin: .5rem 0 }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: .925rem }
th, td { text-align: left; vertical-align: top; padding: .35rem .7rem .35rem 0;
  border-bottom: 1px solid var(--line) }
"""
"""All of the page's style."""

Node = Mapping[str, Any]
_LONGEST_LIST = 8


def page_of(document: Node) -> str:
    """The page of an OpenAPI document as `openapi` makes it."""
    info = document["info"]
    title = f"{_text(info['title'])} {_text(info['version'])}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}: the API</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header>\n<h1>{title}</h1>\n{_paragraphs(info['description'])}"
        '<p>For programs: <a href="openapi.json">openapi.json</a>.</p>\n</header>\n'
        f"{_contents(document)}<main>\n{''.join(_chapters(document))}{_vocabularies(document)}"
        "</main>\n</body>\n</html>\n"
    )


def _text(value: object) -> str:
    return escape(str(value))


def _marked(text: str) -> str:
    """Text with what stands between backquotes as code."""
    parts = _text(text).split("`")
    if len(parts) % 2 == 0:
        return _text(text)
    return "".join(f"<code>{part}</code>" if n % 2 else part for n, part in enumerate(parts))


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_marked(part)}</p>\n" for part in text.split("\n\n") if part)


def _operations(document: Node) -> Iterator[tuple[str, str, Node]]:
    """(method, path, operation) in the order of the chapters."""
    order = [tag["name"] for tag in document["tags"]]
    found = [
        (method.upper(), path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    yield from sorted(found, key=lambda each: order.index(each[2]["tags"][0]))


def _contents(document: Node) -> str:
    items = "".join(
        f'<li><a href="#{_text(each["operationId"])}">{method} {_text(path)}</a></li>\n'
        for method, path, each in _operations(document)
    )
    return f'<nav aria-label="Addresses">\n<ul>\n{items}</ul>\n</nav>\n'


def _chapters(document: Node) -> Iterator[str]:
    about = {tag["name"]: tag["description"] for tag in document["tags"]}
    for tag, operations in groupby(_operations(document), key=lambda each: each[2]["tags"][0]):
        yield f"<section>\n<h2>{_text(tag.capitalize())}</h2>\n{_paragraphs(about[tag])}"
        for method, path, operation in operations:
            yield _section(document, method, path, operation)
        yield "</section>\n"


def _section(document: Node, method: str, path: str, operation: Node) -> str:
    name = _text(operation["operationId"])
    return (
        f'<article aria-labelledby="{name}">\n'
        f'<h3 id="{name}"><code>{method} {_text(path)}</code></h3>\n'
        f"{_paragraphs(operation['summary'])}{_paragraphs(operation.get('description', ''))}"
        f"{_parameters(document, operation)}{_body(document, operation)}"
        f"{_curl(document, method, path, operation)}{_responses(document, operation)}</article>\n"
    )


def _table(title: str, header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    if not lines:
        return ""
    head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in header)
    return (
        f'<h4>{_text(title)}</h4>\n<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{lines}</tbody>\n</table></div>\n"
    )


def _parameters(document: Node, operation: Node) -> str:
    rows = [
        (
            f"<code>{_text(each['name'])}</code>",
            _text(each["in"]),
            _kind(document, each["schema"]),
            _marked(each["description"]),
        )
        for each in operation.get("parameters", ())
    ]
    return _table("Parameters", ("name", "in", "type", "what it says"), rows)


def _body(document: Node, operation: Node) -> str:
    if "requestBody" not in operation:
        return ""
    schema = _resolved(document, _media(operation["requestBody"])["schema"])
    needed = schema.get("required", ())
    return _table("Fields of the body", *_fields(document, schema, needed)) + _paragraphs(
        operation["requestBody"].get("description", "")
    )


def _fields(
    document: Node, schema: Node, needed: Iterable[str]
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    rows = [
        (
            f"<code>{_text(name)}</code>",
            _kind(document, field),
            "required" if name in needed else _default(field),
            _marked(field.get("description", "")),
        )
        for name, field in schema["properties"].items()
    ]
    return ("field", "type", "without it", "what it says"), rows


def _default(field: Node) -> str:
    default = field.get("default")
    return "" if default is None else f"<code>{_text(json.dumps(default))}</code>"


def _curl(document: Node, method: str, path: str, operation: Node) -> str:
    """A command that can be copied as it stands; `-X` only where it is needed."""
    address = path.replace("{job_id}", "7")
    lines = [f"curl -s http://127.0.0.1:5000{address}"]
    if "requestBody" in operation:
        example = _media(operation["requestBody"]).get("example", {})
        body = json.dumps(example, ensure_ascii=False).replace("'", "'\\''")
        lines += ["-H 'Content-Type: application/json'", f"-d '{body}'"]
    elif method != "GET":
        lines[0] = f"curl -s -X {method} http://127.0.0.1:5000{address}"
    command = " \\\n  ".join(lines)
    return f"<h4>Example</h4>\n<pre><code>{_text(command)}</code></pre>\n"


def _responses(document: Node, operation: Node) -> str:
    rows = [
        (
            f"<code>{_text(status)}</code>",
            _marked(answer["description"]),
            _kind(document, _media(answer)["schema"]) if "content" in answer else "",
            ", ".join(f"<code>{_text(name)}</code>" for name in answer.get("headers", ())),
        )
        for status, answer in operation["responses"].items()
    ]
    return _table("Answers", ("status", "when", "body", "headers"), rows)


def _media(holder: Node) -> Node:
    """The first of the media types that a body may have."""
    first: Node = next(iter(holder["content"].values()))
    return first


def _resolved(document: Node, schema: Node) -> Node:
    if "$ref" not in schema:
        return schema
    found: Node = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def _kind(document: Node, schema: Node) -> str:
    """A schema in a few words, with links to what is described at the end."""
    if "$ref" in schema:
        name = _text(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if "enum" in schema:
        return " | ".join(f"<code>{_text(json.dumps(each))}</code>" for each in schema["enum"])
    if "anyOf" in schema and "type" not in schema:
        return " | ".join(_kind(document, each) for each in schema["anyOf"])
    if "prefixItems" in schema:
        return f"[{', '.join(_kind(document, each) for each in schema['prefixItems'])}]"
    kind = _text(schema.get("type", "anything"))
    if isinstance(schema.get("items"), dict):
        kind = f"array of {_kind(document, schema['items'])}"
    bounds = [
        f"{sign} {_text(schema[name])}"
        for name, sign in _BOUNDS.items()
        if name in schema  # a bound of 0 counts
    ]
    return f"{kind} ({', '.join(bounds)})" if bounds else kind


_BOUNDS = {
    "minimum": "≥",
    "exclusiveMinimum": "&gt;",
    "maximum": "≤",
    "exclusiveMaximum": "&lt;",
    "minItems": "at least",
    "maxItems": "at most",
    "pattern": "as",
}


def _vocabularies(document: Node) -> str:
    """Every type that the sections link to."""
    return (
        "<section>\n<h2>Types</h2>\n"
        + "".join(
            f'<article aria-labelledby="schema-{_text(name)}">\n'
            f'<h3 id="schema-{_text(name)}">{_text(name)}</h3>\n'
            f"{_paragraphs(schema.get('description', ''))}{_content(document, schema)}</article>\n"
            for name, schema in document["components"]["schemas"].items()
        )
        + "</section>\n"
    )


def _content(document: Node, schema: Node) -> str:
    if "properties" in schema:
        return _table("Fields", *_fields(document, schema, schema.get("required", ())))
    names = schema.get("enum", ())
    items = "".join(f"<li><code>{_text(name)}</code></li>\n" for name in names)
    listed = f"<ul>\n{items}</ul>\n"
    if len(names) <= _LONGEST_LIST:
        return listed
    return f"<details><summary>{len(names)} names</summary>\n{listed}</details>\n"
