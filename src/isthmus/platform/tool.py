"""What a tool is, and all that it may ask of the session that runs it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias, cast

import msgspec

from isthmus.contract.contract_pb2 import Action, ActionResponse
from isthmus.core.errors import ToolRefused
from isthmus.platform.exclusion import Exclusion

Effect = Literal[
    "plan",
    "read",
    "write",
    "run",
    "git",
    "gitlab_read",
    "gitlab_write",
    "flows",
    "notify",
    "mcp",
]
"""What a call can change. Source: agent-platform contract, section 8.1.

`plan` nothing but the session's own state; `read`, `write` and `run` concern the workspace, `git`
its history, `gitlab_read` and `gitlab_write` the instance; `flows` starts another session,
`notify` schedules a turn; `mcp`: nobody knows.
"""
Trust = Literal["internal", "user", "external", "mcp"]
"""Who wrote what a tool returns: this server, users of the instance, the world, another server."""
Cleaning = Literal["all", "review", "none"]
"""Which sanitisers a result passes; `none` keeps it exact."""


class Client(Protocol):
    """The client's machine, as a tool sees it."""

    async def ask(self, action: Action) -> ActionResponse:
        """Have the client carry out an action (its request id is set here) and wait for the answer.

        The answer's text is under `plainTextResponse` whatever its kind was; that to a
        `runHTTPRequest` is under `httpResponse`. Raises ClientGone when the stream ends first,
        ToolRefused when the client reports an error.
        """
        ...

    @property
    def host(self) -> str:
        """The host of the client's instance; empty when it is not known."""
        ...

    def utc(self) -> datetime:
        """The wall clock."""
        ...

    @property
    def exclusion(self) -> Exclusion:
        """Which files no tool may read or change."""
        ...

    def has(self, capability: str) -> bool:
        """Whether the client declared this capability and may use it."""
        ...


@dataclass(frozen=True, slots=True)
class Keep:
    """A result over `limit_bytes` is cut to its first (or last) `kept_bytes`."""

    limit_bytes: int = 200 * 1024
    kept_bytes: int = 100 * 1024
    tail: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """What a call makes of the plan: its steps from now on, and the text for the model."""

    steps: tuple[Mapping[str, str], ...]
    text: str


Plan: TypeAlias = Callable[[Any, Sequence[Mapping[str, str]]], Planned]
"""Arguments and the plan's steps (id, description, status) -> the plan after it. Pure."""


async def never_run(_: Any, __: Client) -> str:
    """For a tool that only changes the plan."""
    raise ToolRefused("This tool changes the plan, and there is none here.")


def no_paths(_: Any) -> tuple[str, ...]:
    """For a tool whose arguments name no file."""
    return ()


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: its name, what the model is told, its arguments, and what it does.

    `args` is a msgspec struct; its JSON Schema goes to the model. `run` gets an instance of it and
    returns text for the model; it raises ToolRefused with a sentence that the model may read.
    A tool that the client brings has a `schema` of its own instead, takes a dict that nobody has
    checked, and is known to the client by its `original` name. `fixed` arguments override
    what a model gives.
    `paths` names the files and folders that the arguments point at: the policy checks them before
    anybody is asked. `variants` pairs a capability with the tool of the same name that takes this
    one's place when the client has it. A tool with a `capability` is offered only to clients that
    have it. `feature` is the licensed feature to ask the instance about when a result is empty or
    an error. `version` below 1.0.0 keeps it out of listings. A tool that has `plans` changes the
    session's plan by it, and `run` is never called. `agreed`: who runs this server has agreed to
    its calls beforehand. A tool that works `here` asks nothing of the client.
    """

    name: str
    description: str
    args: type[Any]
    run: Callable[[Any, Client], Awaitable[str]]
    effect: Effect
    title: Callable[[Any], str]
    """One line for the person who watches, such as "Read README.md"."""
    paths: Callable[[Any], tuple[str, ...]] = field(default=no_paths)
    variants: tuple[tuple[str, "Tool"], ...] = field(default=())
    schema: Mapping[str, object] | None = None
    original: str = ""
    fixed: Mapping[str, object] = field(default_factory=dict[str, object])
    capability: str = ""
    trust: Trust = "user"
    cleaning: Cleaning = "all"
    keep: Keep = Keep()
    feature: str = ""
    version: str = "1.0.0"
    plans: Plan | None = None
    agreed: bool = False
    here: bool = False

    def suited(self, has: Callable[[str], bool]) -> "Tool":
        """This tool, or the variant that the client's capabilities call for."""
        for capability, variant in self.variants:
            if has(capability):
                return variant
        return self


def schema_of(args: type[Any]) -> dict[str, Any]:
    """The JSON Schema of an arguments struct, whole: some providers follow no reference."""
    _, parts = msgspec.json.schema_components([args])
    schema: dict[str, Any] = _inlined(parts[args.__name__], parts)
    return {key: value for key, value in schema.items() if key not in ("title", "description")}


def _inlined(schema: Any, parts: Mapping[str, Any]) -> Any:
    if isinstance(schema, Mapping):
        said = cast("Mapping[str, Any]", schema)
        if (ref := said.get("$ref")) is not None:
            named = {k: v for k, v in said.items() if k != "$ref"}
            return {**_inlined(parts[str(ref).rpartition("/")[2]], parts), **named}
        return {key: _inlined(value, parts) for key, value in said.items()}
    if isinstance(schema, list | tuple):
        return [_inlined(item, parts) for item in cast("Sequence[Any]", schema)]
    return schema


def specification(tool: Tool) -> dict[str, object]:
    """A tool as the function specification that clients are shown; JSON values only.

    Source: agent-platform contract, section 4.10.
    """
    schema = tool.schema or msgspec.json.schema(tool.args, ref_template="#/$defs/{name}")
    described = {"name": tool.name, "description": tool.description, "parameters": schema}
    # The round trip turns tuples and enums of a schema into what JSON knows.
    return msgspec.json.decode(msgspec.json.encode({"type": "function", "function": described}))
