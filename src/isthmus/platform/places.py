"""Where on an instance a tool's arguments point: projects, groups and the items in them. Pure.

Source: agent-platform contract, section 8.4 (shorthands): a URL and ids that are given together
must agree, and the URL's host must be the instance's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from isthmus.core.errors import ToolRefused

MAX_URL_CHARS = 2048
_PATH = re.compile(r"[\w.~+-]+(?:/[\w.~+-]+)*")
_KEY = re.compile(r"[0-9]{1,19}")
_SHA = re.compile(r"[0-9A-Za-z._/-]{1,255}")
_SINGULAR: Final[Mapping[str, str]] = {
    "issues": "issue_iid",
    "work_items": "work_item_iid",
    "merge_requests": "merge_request_iid",
    "epics": "epic_iid",
    "commit": "commit_sha",
    "jobs": "job_id",
    "pipelines": "pipeline_id",
}
"""Part of a page's address -> the argument that it stands for."""
ITEMS: Final = frozenset(_SINGULAR.values())


@dataclass(frozen=True, slots=True)
class Place:
    """A project or a group (its path or number; one of them is empty) and the items named."""

    project: str = ""
    group: str = ""
    items: tuple[tuple[str, str], ...] = ()
    ref: str = ""
    file_path: str = ""


def place_of(url: str, host: str) -> Place:
    """What a page of the instance shows. Raises ToolRefused for anything else."""
    if len(url) > MAX_URL_CHARS:
        raise ToolRefused("The URL is too long.")
    try:
        parts = urlsplit(url)
        named = parts.netloc.rpartition("@")[2].lower()
    except ValueError as error:
        raise ToolRefused("The URL cannot be read.") from error
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or not named:
        raise ToolRefused("The URL must be the address of a page of the instance.")
    if host and _bare(named) != _bare(host.lower()):
        raise ToolRefused(f"The URL belongs to another host than the instance's, {host}.")
    container, _, page = parts.path.strip("/").partition("/-/")
    container = unquote(container.removesuffix("/-"))
    words = [unquote(word) for word in page.split("/") if word]
    if not _PATH.fullmatch(container) or ".." in container.split("/"):
        raise ToolRefused("The URL names no project or group.")
    if container.startswith("groups/"):
        return Place(group=container.removeprefix("groups/"), items=_items(words))
    if words[:1] in (["blob"], ["raw"], ["tree"]) and len(words) > 1:
        return Place(container, ref=words[1], file_path="/".join(words[2:]))
    return Place(container, items=_items(words))


def _bare(host: str) -> str:
    return host.removesuffix(":443").removesuffix(":80")


def _items(words: list[str]) -> tuple[tuple[str, str], ...]:
    name = _SINGULAR.get(words[0]) if len(words) > 1 else None
    if name is None:
        return ()
    wanted = _SHA if name == "commit_sha" else _KEY
    return ((name, words[1]),) if wanted.fullmatch(words[1]) else ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a tool's arguments have to name. `items` are arguments that a URL may stand for."""

    project: bool = False
    group: bool = False
    items: tuple[str, ...] = ()


def resolve(wanted: Wanted, args: Mapping[str, object], host: str) -> dict[str, str]:
    """`project` or `group` and the items, as texts. Raises ToolRefused when something is missing.

    `args` holds what was given; None counts as not given.
    """
    url = args.get("url")
    shown = place_of(str(url), host) if url else Place()
    items = dict(shown.items)
    # The pages of issues are moving to work items; their numbers are the same.
    if "issue_iid" in wanted.items and "work_item_iid" in items:
        items["issue_iid"] = items["work_item_iid"]
    if "work_item_iid" in wanted.items and not items.get("work_item_iid"):
        items.update({"work_item_iid": items[n]} if (n := _other(items)) else {})
    found: dict[str, str] = {}
    for name, allowed, of_url in (
        ("project", wanted.project, shown.project),
        ("group", wanted.group, shown.group),
    ):
        value = _agreed(f"{name}_id", args.get(f"{name}_id"), of_url) if allowed else ""
        if value:
            found[name] = value
    if not found and (wanted.project or wanted.group):
        kinds = " or ".join(
            k for k, on in (("project", wanted.project), ("group", wanted.group)) if on
        )
        raise ToolRefused(f"Name the {kinds}: by `url`, or by its id.")
    for name in wanted.items:
        value = _agreed(name, args.get(name), items.get(name, ""))
        if not value:
            raise ToolRefused(f"`{name}` is missing: give it, or a `url` that names it.")
        found[name] = value
    return found


def _other(items: Mapping[str, str]) -> str:
    return next((name for name in ("issue_iid", "epic_iid") if name in items), "")


def _agreed(name: str, given: object, of_url: str) -> str:
    text = "" if given is None else str(given).strip()
    # A number and a path may name the same place: who wants to know would have to ask.
    alike = name in ("project_id", "group_id") and text.isdigit() != of_url.isdigit()
    if text and of_url and not alike and unquote(text).lower() != of_url.lower():
        raise ToolRefused(f"`{name}` and `url` name different things.")
    return of_url or unquote(text)
