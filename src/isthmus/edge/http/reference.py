"""The reference page of every route, from the route table."""

from collections.abc import Sequence

from isthmus.edge.http.auth import PUBLIC
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.membership import OPEN

_INTRODUCTION = """# HTTP routes

Every route needs a token, but for those that say `none`; a caller needs one of the scopes named.
Routes under `/api` and `/oauth` are the instance API: their tokens are those of accounts here
(`isthmus tokens create`). The WebSocket is `GET /api/v4/ai/duo_workflows/ws`;
`POST /api/v4/ai/duo_workflows/execute` runs a session that needs no client, as JSON lines.
The proxies are served under `/ai` as well. The version of a route is the first part of its path: a
version keeps its shapes for good, and `tests/contract/versions` holds the oldest and the newest of
each. What we answer otherwise than the published contract, and why, is in
[compatibility.md](compatibility.md).

| Route | What it does | Scopes | Models | Streams | Stability |
|---|---|---|---|---|---|
"""


def page(endpoints: Sequence[Endpoint]) -> str:
    """The page, in the order of paths."""
    ordered = sorted(endpoints, key=lambda each: (each.path, each.method))
    return _INTRODUCTION + "".join(map(_row, ordered))


def _row(endpoint: Endpoint) -> str:
    path = endpoint.path.replace(":path}", "}")
    scopes = "none" if endpoint.path in PUBLIC | OPEN else endpoint.scopes
    cells = (
        f"`{endpoint.method} {path}`",
        endpoint.summary.rstrip("."),
        scopes,
        endpoint.models,
        f"`{endpoint.stream_type}`" if endpoint.stream_type else "",
        endpoint.stability,
    )
    return f"| {' | '.join(cells)} |\n"
