"""What flows may name (tools, prompts, schemas), and how strictly they are read. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import msgspec

from isthmus.platform.flow_schema import Schemas
from isthmus.platform.tool import Tool
from isthmus.prompts.registry import Registry


@dataclass(frozen=True, slots=True)
class Stock:
    """What there is on this server."""

    tools: Mapping[str, Tool] = field(default_factory=dict[str, Tool])
    prompts: Registry = field(default_factory=lambda: Registry({}))
    schemas: Schemas = field(default_factory=lambda: Schemas({}))


@dataclass(frozen=True, slots=True)
class Rigour:
    """What else is a fault. `tools`: one that this server has not; sessions leave it out.

    `states`: an address in the state that nothing ever writes; `unused`: an input that no template
    reads.
    """

    tools: bool = False
    states: bool = False
    unused: bool = False


SESSION: Final = Rigour()
"""A configuration that comes with a session: only what could not run is refused."""
EDITOR: Final = Rigour(states=True, unused=True)
"""One that somebody has checked; the client that runs it may bring tools."""
BUNDLED: Final = Rigour(tools=True, states=True, unused=True)
"""One that comes with the server."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """The names of a tool's arguments, and of those that must be given."""

    known: frozenset[str]
    needed: frozenset[str]


def parameters(tool: Tool) -> Iterator[Parameters]:
    """The arguments of a tool, and of every one that may take its place."""
    if tool.schema is not None:
        said = cast("Mapping[str, Any]", tool.schema)
        yield Parameters(frozenset(said.get("properties", ())), frozenset(said.get("required", ())))
    else:
        fields = msgspec.structs.fields(tool.args)
        names = frozenset(one.encode_name for one in fields)
        yield Parameters(names, frozenset(one.encode_name for one in fields if one.required))
    for _, variant in tool.variants:
        yield from parameters(variant)
