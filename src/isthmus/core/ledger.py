"""Actions that can change the world, as they are written down before they are sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from isthmus.core.lease import Lease


@dataclass(frozen=True, slots=True)
class Sent:
    """One action: the `index`th of the tool call `call_id` of a session that can change the world.

    `kind` is its name in the contract. `memory` names the client that keeps the answers it gave,
    and is empty for one that keeps none. `answer` is None until the action is settled; opaque to
    the store.
    """

    call_id: str
    index: int
    request_id: str
    kind: str
    memory: str = ""
    answer: bytes | None = None


class Ledger(Protocol):
    """Actions that can change the world, written down before they are sent."""

    async def read(self, thread_id: str) -> Sequence[Sent]:
        """What was sent, and not yet answered in a checkpoint."""
        ...

    async def write(self, lease: Lease, sent: Sequence[Sent]) -> None:
        """Entries, new ones and settled ones, in one transaction. Raises Interrupted: too late."""
        ...

    async def forget(self, lease: Lease, calls: Sequence[str]) -> None:
        """A checkpoint holds what these calls gave. Raises Interrupted: too late."""
        ...
