"""What an action of the contract is, and what it may use of the machine."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from isthmus.contract.contract_pb2 import (
    HttpResponse,
    PlainTextResponse,
    ScheduleNotificationResponse,
)
from isthmus.executor.git import Git
from isthmus.executor.mask import Mask
from isthmus.executor.policy import Policy
from isthmus.executor.seen import Seen
from isthmus.executor.workspace import Workspace

Effect: TypeAlias = Literal["read", "write", "run"]
Reply: TypeAlias = str | PlainTextResponse | HttpResponse | ScheduleNotificationResponse


class Instance(Protocol):
    """The instance, asked as the person."""

    async def answer(self, method: str, path: str, body: str | None) -> HttpResponse:
        """Its answer, or the reason for none in `error`; never raises but for cancellation."""
        ...


class Tools(Protocol):
    """Tools of MCP servers."""

    async def call(self, name: str, arguments: str) -> str:
        """Call one with arguments as JSON text. Raises ToolRefused."""
        ...


@dataclass(frozen=True, slots=True)
class Lent:
    """What the person lends to actions, when anything: git's login and trailers, and far ends."""

    git_login: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    trailers: tuple[str, ...] = ()
    instance: Instance | None = None
    tools: Tools | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """The workspace, git in it, and the environment that started programs get (scrubbed).

    `seen` and `mask` live as long as the run; `policy` says which commands may be started.
    """

    workspace: Workspace
    git: Git
    environment: Mapping[str, str]
    policy: Policy = field(default_factory=Policy)
    mask: Mask = field(default_factory=Mask)
    seen: Seen = field(default_factory=Seen)
    lent: Lent = field(default_factory=Lent)


@dataclass(frozen=True, slots=True)
class ActionKind:
    """One action. `field` is its name in the contract's oneof; `run` gets that message.

    `run` returns text for the model, or a whole reply; it raises ToolRefused with a sentence that
    the model may read. Secrets in its text are masked, unless it `masks` them itself.
    """

    field: str
    effect: Effect
    run: Callable[[Any, Machine], Awaitable[Reply]]
    masks: bool = False
