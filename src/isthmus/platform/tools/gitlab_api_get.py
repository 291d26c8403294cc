"""Any reading call of the instance's REST API."""

import re
from typing import Annotated, Any
from urllib.parse import unquote

from msgspec import Meta, Struct

from isthmus.core.errors import ToolRefused
from isthmus.platform import instance_api
from isthmus.platform.exclusion import REASON
from isthmus.platform.instance_text import checked, dumped, query
from isthmus.platform.tool import Client, Tool

_WORK_ITEMS = re.compile(r"^(/api/v4/projects/[^/]+)/work_items(?=/|$)")
_FILE = re.compile(r"/repository/files/([^/]+)")
_CONTROL = re.compile(r"[\x00-\x20\x7f\\]")


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    endpoint: Annotated[
        str | None,
        Meta(description="Path below `/api/v4/`, such as `projects/1/issues`; no query in it."),
    ] = None
    params: Annotated[
        dict[str, Any] | None, Meta(description='The query, such as {"per_page": 20}.')
    ] = None


def path_of(endpoint: str) -> str:
    """The route. Raises ToolRefused for anything but a plain path below /api/v4/.

    Source: agent-platform contract, section 9.5.
    """
    path = endpoint.strip()
    plain = unquote(unquote(path))
    if any(mark in path for mark in "?#") or "//" in plain or _CONTROL.search(plain):
        raise ToolRefused("`endpoint` must be a plain path; put the query into `params`.")
    if ".." in plain.split("/") or ":" in plain.split("/")[0]:
        raise ToolRefused("`endpoint` must be a path below /api/v4/.")
    if not plain.startswith("/api/v4/"):
        if plain.startswith("/api/") or plain.startswith("api/v4/"):
            path = "/" + path.lstrip("/")
        else:
            path = "/api/v4/" + path.lstrip("/")
    if not unquote(path).startswith("/api/v4/"):
        raise ToolRefused("`endpoint` must be a path below /api/v4/.")
    return _WORK_ITEMS.sub(r"\1/issues", path)


async def run(args: Args, client: Client) -> str:
    """The answer with its pages."""
    if not args.endpoint:
        raise ToolRefused("`endpoint` is missing.")
    route = path_of(args.endpoint)
    named = _FILE.search(route)
    if named is not None and client.exclusion.hides(unquote(named[1])):
        raise ToolRefused(f"Access denied: {unquote(named[1])!r} is {REASON}.")
    path = route + query(args.params or {})
    reply = checked(await instance_api.request(client, "GET", path))
    told: dict[str, Any] = {"status": "success", "data": reply.json()}
    pages = {
        "next_page": reply.headers.get("x-next-page"),
        "total": reply.headers.get("x-total"),
        "total_pages": reply.headers.get("x-total-pages"),
    }
    if any(pages.values()):
        told["pagination"] = {name: value for name, value in pages.items() if value}
    return dumped(told)


TOOL = Tool(
    name="gitlab_api_get",
    description="Read anything that the instance's REST API gives by a GET below `/api/v4/`.",
    args=Args,
    run=run,
    effect="gitlab_read",
    title=lambda args: f"Read {args.endpoint}",
)
