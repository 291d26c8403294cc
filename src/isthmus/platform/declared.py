"""Runs declared tools: one call of the instance each, put together from data.

Source: agent-platform contract, section 8.4.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct

from isthmus.core.errors import ToolRefused
from isthmus.platform import instance_api, places
from isthmus.platform.instance_api import Reply
from isthmus.platform.instance_text import at, checked, dumped, query, segment
from isthmus.platform.listing import MAX_CHARS, MAX_PAGES, pages_of
from isthmus.platform.tool import Client, Tool
from isthmus.platform.tool_file import (
    SHAPES,
    DeclaredTool,
    Lookup,
    arguments,
    parse,
    struct_of,
)

_HOLE = re.compile(r"\{(\w+)(?:\|(\w+))?\}")
_SLOT = re.compile(r"\$(\w+)(?:\.(\w+)|:(\w+))?")


def load(folder: Path) -> dict[str, Tool]:
    """The tools of `<folder>/*.yml`, by name. Raises ValueError that names the file at fault.

    `words.yml` explains the arguments that many tools share.
    """
    words = parse((folder / "words.yml").read_bytes(), "words.yml").words
    tools: dict[str, Tool] = {}
    for file in sorted(folder.glob("*.yml")):
        said = parse(file.read_bytes(), file.name)
        for one in said.tools:
            try:
                tool = tool_of(one, words | said.words)
            except ValueError as error:
                raise ValueError(f"{file.name}: {error}") from error
            if tool.name in tools:
                raise ValueError(f"{file.name}: {tool.name!r} is declared twice")
            tools[tool.name] = tool
    return tools


def tool_of(one: DeclaredTool, words: dict[str, str]) -> Tool:
    """The tool that a declaration stands for. Raises ValueError."""
    _complete(one)
    call = _Call(one)
    return Tool(
        name=one.name,
        description=one.description.strip(),
        args=struct_of(one, words),
        run=call.run,
        effect="gitlab_read" if one.group == "RG" else "gitlab_write",
        title=call.title,
        feature=one.feature,
        version=one.version,
        trust=one.trust if one.group == "RG" else "internal",
        cleaning=one.cleaning,
    )


def _complete(one: DeclaredTool) -> None:
    """Whatever a call refers to must be there. Raises ValueError."""
    known = {*arguments(one), *places.ITEMS, "project", "group", "project_path", "group_path"}
    known |= {"namespace"}
    used = _holes(one.rest) | _holes(one.title) | set(one.rename) | set(one.nulls)
    known |= {lookup.name for lookup in one.before}
    used |= _slots(one)
    used |= {one.pages} if isinstance(one.pages, str) else set()
    if unknown := sorted(used - known):
        raise ValueError(f"{one.name}: there is no argument {unknown[0]!r}")


class _Call:
    """One declared call."""

    def __init__(self, one: DeclaredTool) -> None:
        self._one = one
        self._wanted = SHAPES[one.shape][1]
        self._method, self._path = one.call

    def title(self, args: Struct) -> str:
        """The line for who watches; what was not given shows as the URL, or not at all."""
        given = _given(args)
        return _HOLE.sub(
            lambda hole: str(given.get(hole[1], given.get("url", ""))), self._one.title
        )

    async def run(self, args: Struct, client: Client) -> str:
        """The text for the model. Raises ToolRefused."""
        given = _given(args)
        found = places.resolve(self._wanted, given, client.host)
        if self._one.graphql:
            return await self._asked(given, found, client)
        return await self._sent(given, found, client)

    async def _sent(
        self, given: Mapping[str, Any], found: Mapping[str, str], client: Client
    ) -> str:
        one = self._one
        names: dict[str, Any] = {**given, **found}
        path = "/api/v4" + _HOLE.sub(
            lambda hole: segment(names.get(hole[1], names.get(hole[2])), hole[1]), self._path
        )
        used = {*_holes(self._path), str(one.pages)}
        # What names the place is not said again; a search is named by what it looks for.
        used |= set() if one.shape == "search" else SHAPES[one.shape][0].keys()
        rest = {one.rename.get(name, name): v for name, v in given.items() if name not in used}
        rest |= one.send
        if self._method != "GET":
            reply = await instance_api.request(client, self._method, path, rest or None)
            return shown(one, checked(reply))
        if self._all(given):
            return await self._pages(path, rest, client)
        reply = checked(await instance_api.request(client, "GET", path + query(rest)))
        return shown(one, reply)

    async def _pages(self, path: str, rest: Mapping[str, Any], client: Client) -> str:
        """All pages of a listing as one list, up to a bound that the text tells of."""
        items, page = await pages_of(client, path, rest)
        kept = trimmed(items, self._one)
        return dumped({"items": kept, "next_page": page, "complete": False} if page else kept)

    async def _asked(
        self, given: Mapping[str, Any], found: Mapping[str, str], client: Client
    ) -> str:
        one = self._one
        values: dict[str, Any] = {**given, **found}
        needed = _slots(one)
        for kind in ("project", "group"):
            if kind in found and needed & {f"{kind}_path", "namespace"}:
                path = await full_path(kind, found[kind], client)
                values[f"{kind}_path"] = values["namespace"] = path
        for lookup in one.before:
            values[lookup.name] = await _looked_up(lookup, values, client)
        result = await self._answer(values, client)
        if result is None:
            raise ToolRefused("The instance has nothing of this name, or does not show it.")
        return dumped(trimmed(result, one))

    async def _answer(self, values: dict[str, Any], client: Client) -> Any:
        one = self._one
        nodes: list[Any] = []
        chars = 0
        for _ in range(MAX_PAGES):
            if chars > MAX_CHARS:
                break
            variables = cast("dict[str, Any]", filled(one.variables, values) or {})
            for flag, way in one.nulls.items():
                if values.get(flag):
                    _set_null(variables, way)
            data = await instance_api.graphql(client, one.graphql, variables)
            if one.failed and (errors := at(data, one.failed)):
                raise ToolRefused(f"The instance refused: {'; '.join(map(str, errors))[:500]}")
            result = at(data, one.result) if one.result else data
            if not self._all(values):
                return result
            found: list[Any] = at(result, "nodes") or []
            nodes += found
            chars += len(dumped(found))
            if not at(result, "pageInfo.hasNextPage"):
                return nodes
            values["after"] = at(result, "pageInfo.endCursor")
        return {"nodes": nodes, "pageInfo": {"endCursor": values["after"], "hasNextPage": True}}

    def _all(self, values: Mapping[str, Any]) -> bool:
        pages = self._one.pages
        return bool(values.get(pages)) if isinstance(pages, str) else pages


async def _looked_up(lookup: Lookup, values: Mapping[str, Any], client: Client) -> Any:
    variables = cast("dict[str, Any]", filled(lookup.variables, values) or {})
    found = at(await instance_api.graphql(client, lookup.graphql, variables), lookup.result)
    if lookup.where is not None:
        key, wanted = lookup.where[0], str(filled(lookup.where[1], values)).lower()
        items = cast("list[Any]", found) if isinstance(found, list) else []
        found = next((item for item in items if str(at(item, key)).lower() == wanted), None)
        if found is None:
            names = ", ".join(str(at(item, key)) for item in items)[:300]
            raise ToolRefused(f"There is no {lookup.name} {wanted!r}; there are: {names}")
    taken = at(found, lookup.take)
    if taken is None:
        raise ToolRefused("The instance has nothing of this name, or does not show it.")
    return taken


async def full_path(kind: str, key: str, client: Client) -> str:
    """The full path of a project or group; one that is named by its number is looked up."""
    if not key.isdigit():
        return key
    path = f"/api/v4/{kind}s/{segment(key, kind)}"
    said = checked(await instance_api.request(client, "GET", path)).json()
    name = "path_with_namespace" if kind == "project" else "full_path"
    found = cast("dict[str, object]", said).get(name) if isinstance(said, dict) else None
    if not isinstance(found, str):
        raise ToolRefused(f"The instance does not show the {kind} {key}.")
    return found


def shown(one: DeclaredTool, reply: Reply) -> str:
    """The answer as text; a listing says which page comes next."""
    if one.text:
        return reply.body
    if not reply.body.strip():
        return '{"status":"success"}'
    value = at(reply.json(), one.result) if one.result else reply.json()
    kept: object = trimmed(value, one)
    following = reply.headers.get("x-next-page")
    if following and isinstance(value, list):
        return dumped({"items": kept, "next_page": following})
    return dumped(kept)


def trimmed(value: object, one: DeclaredTool) -> object:
    """The value with the keys that are wanted, and texts cut where that was declared."""
    if isinstance(value, list):
        return [trimmed(item, one) for item in cast("list[Any]", value)]
    if not isinstance(value, dict) or not (one.only or one.cut):
        return cast("object", value)
    item = cast("dict[str, object]", value)
    kept = {key: item[key] for key in one.only if key in item} if one.only else dict(item)
    for key, most in one.cut.items():
        text = kept.get(key)
        if isinstance(text, str) and len(text) > most:
            kept[key] = text[:most] + "…"
    return kept


def filled(tree: object, values: Mapping[str, Any]) -> object:
    """The tree with its slots replaced; None, which is left out above, where all of it is empty.

    `$a` alone keeps the value's type; within a longer text the value is put in as text.
    """
    if isinstance(tree, dict):
        found = {k: filled(v, values) for k, v in cast("dict[str, object]", tree).items()}
        kept = {key: value for key, value in found.items() if value is not None}
        return kept or None
    if isinstance(tree, list):
        made = [filled(item, values) for item in cast("list[object]", tree)]
        return [item for item in made if item is not None] or None
    if not isinstance(tree, str):
        return tree
    whole = _SLOT.fullmatch(tree)
    if whole is not None:
        return _slot(whole, values)
    if any(_slot(slot, values) is None for slot in _SLOT.finditer(tree)):
        return None
    return _SLOT.sub(lambda slot: str(_slot(slot, values)), tree)


def _slot(slot: re.Match[str], values: Mapping[str, Any]) -> Any:
    value = values.get(slot[1])
    if slot[2] and value is not None:
        return at(value, slot[2])
    if slot[3] and value is not None:
        if isinstance(value, list):
            return [_global_id(slot[3], one) for one in cast("list[object]", value)]
        return _global_id(slot[3], value)
    return value


def _global_id(kind: str, value: object) -> str:
    text = str(value).strip()
    if not text.startswith("gid://") and not text.isdigit():
        raise ToolRefused(f"{text[:64]!r} is no id: give the number, or the global id.")
    return text if text.startswith("gid://") else f"gid://gitlab/{kind}/{text}"


def _holes(text: str) -> set[str]:
    return {name for hole in _HOLE.finditer(text) for name in hole.groups() if name}


def _set_null(tree: dict[str, Any], way: str) -> None:
    *above, last = way.split(".")
    for step in above:
        tree = tree.setdefault(step, {})
    tree[last] = None


def _slots(one: DeclaredTool) -> set[str]:
    """The names of the values that the call's variables need."""
    trees = (one.variables, *(lookup.variables for lookup in one.before))
    return {slot[1] for tree in trees for slot in _SLOT.finditer(dumped(tree))}


def _given(args: Struct) -> dict[str, Any]:
    values = msgspec.structs.asdict(args)
    return {name: value for name, value in values.items() if value is not None}
