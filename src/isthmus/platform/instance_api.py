"""Calls of a GitLab instance that the client carries out with its user's own token.

Source: agent-platform contract, section 6.1.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from isthmus.contract.contract_pb2 import Action, RunHTTPRequest
from isthmus.core.errors import ToolRefused
from isthmus.platform.tool import Client

ATTEMPTS = 3
WAITS_S = (1.0, 2.0)
"""Before the second and the third attempt; the contract allows 1 to 10 s."""
GRAPHQL_S = 10.0
MAX_ERROR_CHARS = 500
_UNREACHED = re.compile(
    r"timed? ?out|timeout|connection (?:was )?(?:refused|reset|aborted|closed)|broken pipe"
    r"|network is unreachable|name resolution|name or service not known|no such host"
    r"|remote end closed|cannot connect to host|server disconnected|econn(?:refused|reset|aborted)",
    re.IGNORECASE,
)
"""What executors say when the instance could not be reached."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The instance's answer. `headers` have names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def ok(self) -> bool:
        """Whether the instance did what it was asked to."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body as JSON. Raises ToolRefused with the text when it is something else."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            told = self.body[:MAX_ERROR_CHARS]
            raise ToolRefused(f"The instance did not answer in JSON: {told}") from error


async def request(client: Client, method: str, path: str, body: object = None) -> Reply:
    """One call; `body` is sent as JSON, a text as it is. An answer with an error status is a reply.

    Tried again when the instance is out of reach or answers 5xx. Raises ToolRefused when the
    client could not carry it out, ClientGone when it left.
    """
    asked = RunHTTPRequest(method=method, path=path)
    if body is not None:
        asked.body = body if isinstance(body, str) else msgspec.json.encode(body).decode()
    action = Action(runHTTPRequest=asked)
    for wait_s in WAITS_S:
        try:
            reply = await _once(client, action)
        except ToolRefused as refusal:
            if not _UNREACHED.search(refusal.detail):
                raise
        else:
            if reply.status < 500:
                return reply
        await asyncio.sleep(wait_s)
    return await _once(client, action)


async def graphql(
    client: Client, query: str, variables: Mapping[str, object] | None = None
) -> Mapping[str, Any]:
    """The `data` of an answer. Raises ToolRefused when there are errors, or no answer in time."""
    reply = await _posted(client, {"query": query, "variables": variables or {}})
    answer = reply.json()
    if not isinstance(answer, dict):
        raise ToolRefused("The instance's answer is not what GraphQL answers look like.")
    said = cast("dict[str, Any]", answer)
    if errors := said.get("errors"):
        raise ToolRefused(f"The instance refused: {_messages(errors)}")
    data = said.get("data")
    if not isinstance(data, dict):
        raise ToolRefused(f"The instance answered without data (status {reply.status}).")
    return cast("Mapping[str, Any]", data)


async def _posted(client: Client, body: object) -> Reply:
    for _ in range(ATTEMPTS):
        try:
            async with asyncio.timeout(GRAPHQL_S):
                return await request(client, "POST", "/api/graphql", body)
        except TimeoutError:
            continue
    raise ToolRefused("The instance did not answer in time.")


async def _once(client: Client, action: Action) -> Reply:
    answer = (await client.ask(action)).httpResponse
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Reply(answer.statusCode, headers, answer.body)


def _messages(errors: object) -> str:
    listed = cast("list[object]", errors) if isinstance(errors, list) else [errors]
    return "; ".join(_message(one) for one in listed)[:MAX_ERROR_CHARS]


def _message(error: object) -> str:
    match error:
        case {"message": str(text)}:
            return text
        case _:
            return str(error)
