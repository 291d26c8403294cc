"""One GraphQL request: who asks, what may be called, and what was read for it already."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar, cast

from isthmus.core.accounts import Member, Namespace, Project
from isthmus.core.errors import TooLarge
from isthmus.core.records import Record
from isthmus.core.workflow import Workflow
from isthmus.edge.instance import InstanceServices

BUDGET_BYTES: Final = 128 * 1024 * 1024
"""What one request may read of checkpoints and answer with."""
READS_AT_ONCE: Final = 4

Source = TypeVar("Source")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Operation:
    """What a client sends: a document that holds one operation, and the values of its variables."""

    text: str
    variables: dict[str, Any]
    name: str | None = None


class Inquiry:
    """What the resolvers of a request share. `origin` is our address as its caller knows it."""

    def __init__(self, instance: InstanceServices, member: Member, origin: str) -> None:
        self.instance = instance
        self.member = member
        self.origin = origin
        self._left_bytes = BUDGET_BYTES
        self._reads = asyncio.Semaphore(READS_AT_ONCE)
        self._turns: dict[Hashable, asyncio.Lock] = {}
        self._known: dict[Hashable, object] = {}

    async def once(self, key: Hashable, read: Callable[[], Awaitable[Value]]) -> Value:
        """What `read` gives; fields that ask for the same share one reading."""
        async with self._turns.setdefault(key, asyncio.Lock()):
            if key not in self._known:
                async with self._reads:
                    self._known[key] = await read()
            return cast("Value", self._known[key])

    async def latest(self, workflow: Workflow) -> Record | None:
        """The newest top-level checkpoint."""

        async def read() -> Record | None:
            return self.charged(await self.instance.checkpoints.latest(workflow))

        return await self.once(("latest", workflow.workflow_id), read)

    async def project(self, project_id: int) -> Project:
        """Raises NotFound."""
        places = self.instance.places
        return await self.once(
            ("project", project_id), lambda: places.project(self.member, project_id)
        )

    async def namespace(self, namespace_id: int) -> Namespace:
        """Raises NotFound."""
        places = self.instance.places
        return await self.once(
            ("namespace", namespace_id), lambda: places.namespace(self.member, namespace_id)
        )

    def charged(self, record: Record | None) -> Record | None:
        """The checkpoint, once its size is counted. Raises TooLarge."""
        if record is not None:
            self.charge(len(record.checkpoint) + len(record.metadata))
        return record

    def charge(self, size_bytes: int) -> None:
        """Count what the answer costs in memory. Raises TooLarge."""
        self._left_bytes -= size_bytes
        if self._left_bytes < 0:
            raise TooLarge("The answer is too large: ask for fewer checkpoints.", BUDGET_BYTES)


@dataclass(frozen=True, slots=True)
class Ask:
    """A field that is asked for: in which request, and with which arguments."""

    inquiry: Inquiry
    args: Mapping[str, Any]


Resolver: TypeAlias = Callable[[Source, Ask], object]
"""Gives a field's value, or an awaitable of it."""
