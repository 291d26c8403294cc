"""Calls every declared tool once with made-up arguments, against an instance that only records.

`python -m tests.support.declared_tools` writes what was sent to `tests/wire/tools/declared.json`:
read the difference before it is committed.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec

from isthmus.contract.contract_pb2 import Action, ActionResponse, HttpResponse
from isthmus.platform import declared
from isthmus.platform.tool import Tool
from isthmus.platform.tool_file import DeclaredTool, arguments, parse
from isthmus.platform.toolbox import FOLDER
from tests.support.instance import Machine as Stand

RECORDED = Path(__file__).parents[1] / "wire" / "tools" / "declared.json"


class Recorder(Stand):
    """An instance that answers every call with what the caller's way to a result needs."""

    host = "gitlab.example.com"

    def __init__(self, one: DeclaredTool) -> None:
        self._one = one
        self.sent: list[dict[str, Any]] = []

    async def ask(self, action: Action) -> ActionResponse:
        asked = action.runHTTPRequest
        body = json.loads(asked.body) if asked.HasField("body") else None
        self.sent.append({"method": asked.method, "path": asked.path, "body": body})
        answer = json.dumps(self.answer(body))
        return ActionResponse(httpResponse=HttpResponse(statusCode=200, body=answer))

    def has(self, capability: str) -> bool:
        return bool(capability)

    def answer(self, body: Any) -> Any:
        """What an instance has for this request."""
        if not (isinstance(body, dict) and "query" in body):
            return [] if self._one.pages else {"id": 1}
        for lookup in self._one.before:
            if lookup.graphql == body["query"]:
                found: Any = {"id": "gid://gitlab/Found/1"}
                if lookup.where is not None:
                    found = [found | {lookup.where[0]: example("str", lookup.where[1][1:])}]
                return {"data": nested(lookup.result, found)}
        return {"data": nested(self._one.result, {"nodes": [], "found": True})}


def nested(way: str, value: Any) -> Any:
    """The value at the end of a way of keys and places in lists."""
    for step in reversed(way.split(".")):
        value = [value] * (int(step) + 1) if step.isdigit() else {step: value}
    return value


def example(kind: str, name: str) -> Any:
    """A value of a kind; texts tell which argument they are."""
    return {
        "int": 7,
        "float": 42.5,
        "bool": True,
        "key": "group/project",
        "object": {"parent_id": "gid://gitlab/WorkItem/9", "name": "x y"},
        "list[int]": [3, 4],
        "list[str]": ["5", "6"] if "id" in name else ["a", "b c"],
        "list[object]": [{"name": "n"}],
    }.get(kind, "8" if name.endswith("_id") or name == "note_id" else f"{name} & more")


def made(one: DeclaredTool) -> dict[str, Any]:
    """Arguments for a tool: all but the URL, and what may not be given beside others."""
    given: dict[str, Any] = {}
    for name, argument in arguments(one).items():
        kind = argument.type.partition("?")[0].partition(" =")[0]
        if name == "url" or (name == "group_id" and one.shape in ("parent", "work_item")):
            continue
        value = example(kind, name)
        if argument.choices:
            value = [argument.choices[0]] if kind == "list[str]" else argument.choices[0]
        given[name] = value
    return given


def every() -> list[tuple[DeclaredTool, Tool]]:
    """All declarations with the tools that were made of them."""
    tools = declared.load(FOLDER)
    files = sorted(FOLDER.glob("*.yml"))
    said = [one for file in files for one in parse(file.read_bytes(), file.name).tools]
    return [(one, tools[one.name]) for one in said]


async def sent(one: DeclaredTool, tool: Tool) -> dict[str, Any]:
    """The arguments, and the calls that they led to."""
    recorder, given = Recorder(one), made(one)
    await tool.run(msgspec.convert(given, tool.args), recorder)
    return {"args": given, "calls": recorder.sent}


async def _record() -> None:
    found = {one.name: await sent(one, tool) for one, tool in every()}
    RECORDED.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    asyncio.run(_record())
