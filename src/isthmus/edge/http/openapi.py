"""The OpenAPI 3.1 document, from the route table and the wire structs, and pages that show it."""

import re
from collections.abc import Sequence
from html import escape

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from isthmus import __version__
from isthmus.edge.http.auth import PUBLIC
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.membership import FAMILIES, OPEN
from isthmus.settings import HttpSettings

Json = dict[str, object]

_WHY = {
    400: "The request is well formed, but cannot be served.",
    401: "The caller is not known.",
    402: "What is asked for is not enabled, or not paid for.",
    403: "The caller may not do this.",
    404: "There is no such thing.",
    413: "The body is too large.",
    421: "The model's provider refused, or failed.",
    422: "The body does not fit its schema.",
    429: "Too much is asked at once.",
    500: "The server is not set up for this.",
    501: "This part of the contract is not built.",
    502: "The model's provider failed.",
    503: "Nothing can serve this now.",
    504: "The model's provider was too slow.",
}
_QUOTA = frozenset({402, 403})

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_REFERENCE = "#/components/schemas/{name}"


class Detail(msgspec.Struct):
    """Why a request was refused."""

    detail: str


class NoCredit(msgspec.Struct):
    """Why a portal that counts credits does not let a caller in."""

    error: str
    error_code: str
    message: str


class Refusal(msgspec.Struct):
    """Why the instance API refused: `message`, or `error` with what belongs to it."""

    message: object = None
    error: str | None = None
    error_description: str | None = None
    scope: str | None = None


class NotKnown(msgspec.Struct):
    """Why a caller could not be authenticated."""

    error: str


def document(endpoints: Sequence[Endpoint]) -> Json:
    """The document; deterministic, in the order of paths."""
    named: list[type] = [Detail, NoCredit, NotKnown]
    if any(each.path.startswith(FAMILIES) for each in endpoints):
        named.append(Refusal)
    named += [kind for each in endpoints for kind in (each.body, each.reply) if kind is not None]
    unique = list(dict.fromkeys(named))
    shown, components = msgspec.json.schema_components(
        unique, schema_hook=any_json, ref_template=_REFERENCE
    )
    schemas = dict(zip(unique, map(_undiscriminated, shown), strict=True))
    paths: dict[str, Json] = {}
    for endpoint in sorted(endpoints, key=lambda each: (each.path, each.method)):
        path = _PARAMETER.sub(r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Isthmus AI gateway", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


def any_json(kind: type) -> Json:
    """The schema of values that nobody here looks into: a hook for msgspec."""
    if kind is object:
        return {"description": "Any JSON value."}
    raise NotImplementedError


def _undiscriminated(schema: Json) -> Json:
    """Without its `discriminator`: ours are numbers, and OpenAPI knows texts alone."""
    return {name: value for name, value in schema.items() if name != "discriminator"}


def _operation(endpoint: Endpoint, schemas: dict[type, Json]) -> Json:
    public = endpoint.path in PUBLIC | OPEN
    operation: Json = {
        "summary": endpoint.summary,
        "operationId": _operation_id(endpoint),
        "security": [] if public else [{"token": []}],
        "responses": _responses(endpoint, schemas, public=public),
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _values(endpoint, name)}
        for name in _PARAMETER.findall(endpoint.path)
    ]
    if endpoint.query is not None:
        parameters += _queried(endpoint.query)
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, "content": _json(schemas[endpoint.body])}
    return operation


def _values(endpoint: Endpoint, name: str) -> Json:
    values = endpoint.choices.get(name)
    return {"type": "string", "enum": list(values)} if values else {"type": "string"}


def _queried(kind: type) -> list[Json]:
    schema = msgspec.json.schema(kind)["$defs"][kind.__name__]
    required = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": shown}
        for name, shown in schema["properties"].items()
    ]


def _operation_id(endpoint: Endpoint) -> str:
    return "_".join([endpoint.method.lower(), *re.findall(r"\w+", endpoint.path)])


def _responses(endpoint: Endpoint, schemas: dict[type, Json], *, public: bool) -> Json:
    content: Json = {} if endpoint.reply is None else _json(schemas[endpoint.reply])
    if endpoint.stream_type:
        content[endpoint.stream_type] = {}
    answered: Json = {"description": "The answer."}
    if endpoint.relays:
        content["application/json"] = {}
    if content:
        answered["content"] = content
    responses: Json = {str(endpoint.status): answered}
    if endpoint.path.startswith(FAMILIES):
        # Theirs are many, and of one shape; people read pages where nobody has a token yet.
        told = _json(schemas[Refusal])
        if endpoint.path in OPEN:
            told["text/html"] = {}
        return responses | {"default": {"description": "Why not.", "content": told}}
    if endpoint.relays:
        responses["default"] = {
            "description": "What the provider answers, or why it was not asked."
        }
    if not public:
        responses["401"] = _refused(_WHY[401], schemas[NotKnown])
    for status in sorted(_statuses(endpoint, public=public)):
        shape: Json = schemas[Detail]
        if status in _QUOTA:
            shape = {"anyOf": [schemas[Detail], schemas[NoCredit]]}
        responses[str(status)] = _refused(_WHY[status], shape)
    return responses


def _statuses(endpoint: Endpoint, *, public: bool) -> set[int]:
    """The refusals that a route may answer, but for 401."""
    if public:
        return set(endpoint.refusals)
    found = {403, *endpoint.refusals}
    if endpoint.method != "GET":
        found |= {400, 413, 429, 503}
    if endpoint.body is not None:
        found.add(422)
    if _PARAMETER.search(endpoint.path):
        found.add(404)
    return found


def _refused(description: str, schema: Json) -> Json:
    return {"description": description, "content": _json(schema)}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def documented(http: HttpSettings) -> bool:
    """Whether a setting gives the document a path."""
    return bool(http.openapi_url or http.docs_url or http.redoc_url)


def documentation(http: HttpSettings, endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """Routes that show the document, each only where a setting gives it a path."""
    if not documented(http):
        return []
    shown = document(endpoints)
    text = msgspec.json.encode(shown)
    html = page(shown)

    async def as_json(_: Request) -> Response:
        return Response(text, media_type="application/json")

    async def as_page(_: Request) -> Response:
        return HTMLResponse(html)

    found: dict[str, Endpoint] = {}
    for path in (http.docs_url, http.redoc_url):
        if path:
            found[path] = Endpoint("GET", path, as_page, "List the operations of this API.")
    if http.openapi_url:
        found[http.openapi_url] = Endpoint(
            "GET", http.openapi_url, as_json, "Describe this API by OpenAPI."
        )
    return list(found.values())


def page(shown: Json) -> str:
    """A page that lists the document's operations; it loads nothing from anywhere."""
    paths = shown["paths"]
    rows: list[str] = []
    for path, operations in msgspec.convert(paths, dict[str, dict[str, dict[str, object]]]).items():
        for method, operation in operations.items():
            summary = escape(str(operation["summary"]))
            name = escape(path)
            rows.append(
                f"<tr><td>{method.upper()}</td><td><code>{name}</code></td><td>{summary}</td></tr>"
            )
    return _PAGE.format(rows="\n".join(rows))


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Isthmus AI gateway</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem }}
table {{ border-collapse: collapse; width: 100% }}
td, th {{ border-bottom: 1px solid #8884; padding: .4rem .6rem; text-align: left }}
</style>
</head>
<body>
<h1>Isthmus AI gateway</h1>
<table>
<thead><tr><th>Method</th><th>Path</th><th>What it does</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</body>
</html>
"""
