"""Listings and objects of the instance, bounded in number and size."""

from collections.abc import Mapping
from typing import Any, cast

from isthmus.core.errors import ToolRefused
from isthmus.platform import instance_api
from isthmus.platform.instance_text import checked, query
from isthmus.platform.tool import Client

MAX_PAGES = 20
PAGE_ITEMS = 100
MAX_CHARS = 8 * 1024 * 1024
"""Of all pages together: a model is shown far less."""


async def pages_of(
    client: Client, path: str, asked: Mapping[str, Any] | None = None
) -> tuple[list[dict[str, Any]], str]:
    """A listing, and the page that was not read any more: "" is none. Raises ToolRefused."""
    items: list[dict[str, Any]] = []
    page, chars = "1", 0
    for _ in range(MAX_PAGES):
        wanted = {**(asked or {}), "per_page": PAGE_ITEMS, "page": page}
        reply = checked(await instance_api.request(client, "GET", path + query(wanted)))
        listed = reply.json()
        if not isinstance(listed, list):
            raise ToolRefused("The instance did not answer with a list.")
        items += cast("list[dict[str, Any]]", listed)
        page = reply.headers.get("x-next-page", "")
        chars += len(reply.body)
        if not page or chars > MAX_CHARS:
            break
    return items, page


async def all_of(
    client: Client, path: str, asked: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The items of a listing, as far as they are read. Raises ToolRefused."""
    items, _ = await pages_of(client, path, asked)
    return items


async def one_of(client: Client, path: str) -> dict[str, Any]:
    """One object. Raises ToolRefused."""
    found = checked(await instance_api.request(client, "GET", path)).json()
    if not isinstance(found, dict):
        raise ToolRefused("The instance did not answer with an object.")
    return cast("dict[str, Any]", found)
