"""What an action of the contract is, and what it may use of the machine."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from isthmus.contract.contract_pb2 import (
    HttpResponse,
    PlainTextResponse,
    ScheduleNotificationResponse,
)
from isthmus.executor.git import Git
from isthmus.executor.workspace import Workspace

Effect: TypeAlias = Literal["read", "write", "run"]
Reply: TypeAlias = str | PlainTextResponse | HttpResponse | ScheduleNotificationResponse


@dataclass(frozen=True, slots=True)
class Machine:
    """The workspace, git in it, and the environment that started programs get (scrubbed)."""

    workspace: Workspace
    git: Git
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ActionKind:
    """One action. `field` is its name in the contract's oneof; `run` gets that message.

    `run` returns text for the model, or a whole reply; it raises ToolRefused with a sentence that
    the model may read.
    """

    field: str
    effect: Effect
    run: Callable[[Any, Machine], Awaitable[Reply]]
