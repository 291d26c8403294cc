"""An instance as a tool sees it: answers in order, and keeps what it was asked."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from isthmus.contract.contract_pb2 import Action, ActionResponse, HttpResponse, PlainTextResponse
from isthmus.platform.exclusion import NOTHING
from isthmus.platform.tool import Tool

Answer = tuple[int, Any, dict[str, str]]


def ok(body: Any = None, **headers: str) -> Answer:
    """A good answer; `_` stands for `-` in names of headers."""
    return 200, body, {name.replace("_", "-"): value for name, value in headers.items()}


class Machine:
    """What all stand-ins for a session's client have in common."""

    host = ""
    exclusion = NOTHING

    def has(self, capability: str) -> bool:
        return not capability

    def utc(self) -> datetime:
        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Instance(Machine):
    """A session's client at an instance with given answers; texts answer other actions."""

    host = "gitlab.example.com"

    def __init__(self, *answers: Answer | str | ActionResponse, has: Iterable[str] = ()) -> None:
        self._answers = iter(answers)
        self._has = frozenset(has)
        self.actions: list[Action] = []
        self.asked: list[str] = []
        self.bodies: list[Any] = []

    async def ask(self, action: Action) -> ActionResponse:
        self.actions.append(action)
        answer = next(self._answers)
        if isinstance(answer, ActionResponse):
            return answer
        if isinstance(answer, str):
            return ActionResponse(plainTextResponse=PlainTextResponse(response=answer))
        sent = action.runHTTPRequest
        self.asked.append(f"{sent.method} {sent.path}")
        self.bodies.append(json.loads(sent.body) if sent.HasField("body") else None)
        status, body, headers = answer
        text = body if isinstance(body, str) else json.dumps(body)
        http = HttpResponse(statusCode=status, body=text, headers=headers)
        return ActionResponse(httpResponse=http)

    def has(self, capability: str) -> bool:
        return capability in self._has

    async def run(self, tool: Tool, **args: Any) -> str:
        """The text of a call; the variant is the one that fits the client."""
        suited = tool.suited(self.has)
        return await suited.run(msgspec.convert(args, suited.args), self)

    async def read(self, tool: Tool, **args: Any) -> Any:
        """The same where the text is JSON."""
        return json.loads(await self.run(tool, **args))
