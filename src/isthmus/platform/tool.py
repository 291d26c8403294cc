"""What a tool is, and all that it may ask of the session that runs it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec

from isthmus.contract.contract_pb2 import Action, ActionResponse

Effect = Literal["read", "write", "run", "mcp"]
"""`read` changes nothing, `write` changes files, `run` starts a program; `mcp`: nobody knows."""


class Client(Protocol):
    """The client's machine, as a tool sees it."""

    async def ask(self, action: Action) -> ActionResponse:
        """Have the client carry out an action (its request id is set here) and wait for the answer.

        Raises ClientGone when the stream ends first, ToolRefused when the client reports an error.
        """
        ...

    def has(self, capability: str) -> bool:
        """Whether the client declared this capability and may use it."""
        ...


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
    one's place when the client has it.
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

    def suited(self, has: Callable[[str], bool]) -> "Tool":
        """This tool, or the variant that the client's capabilities call for."""
        for capability, variant in self.variants:
            if has(capability):
                return variant
        return self


def specification(tool: Tool) -> dict[str, object]:
    """A tool as the function specification that clients are shown; JSON values only.

    Source: agent-platform contract, section 4.10.
    """
    schema = tool.schema or msgspec.json.schema(tool.args, ref_template="#/$defs/{name}")
    described = {"name": tool.name, "description": tool.description, "parameters": schema}
    # The round trip turns tuples and enums of a schema into what JSON knows.
    return msgspec.json.decode(msgspec.json.encode({"type": "function", "function": described}))
