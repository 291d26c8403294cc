"""Listings of the instance that span pages."""

from collections.abc import Mapping
from typing import Any, cast

from isthmus.core.errors import ToolRefused
from isthmus.platform import instance_api
from isthmus.platform.declared import checked, query
from isthmus.platform.tool import Client

MAX_PAGES = 20
PAGE_ITEMS = 100


async def all_of(
    client: Client, path: str, asked: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Every item of a listing, up to 2,000. Raises ToolRefused."""
    items: list[dict[str, Any]] = []
    page = "1"
    for _ in range(MAX_PAGES):
        wanted = {**(asked or {}), "per_page": PAGE_ITEMS, "page": page}
        reply = checked(await instance_api.request(client, "GET", path + query(wanted)))
        listed = reply.json()
        if not isinstance(listed, list):
            raise ToolRefused("The instance did not answer with a list.")
        items += cast("list[dict[str, Any]]", listed)
        page = reply.headers.get("x-next-page", "")
        if not page:
            break
    return items


async def one_of(client: Client, path: str) -> dict[str, Any]:
    """One object. Raises ToolRefused."""
    found = checked(await instance_api.request(client, "GET", path)).json()
    if not isinstance(found, dict):
        raise ToolRefused("The instance did not answer with an object.")
    return cast("dict[str, Any]", found)
