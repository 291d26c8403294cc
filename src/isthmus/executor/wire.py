"""The seam under a session: one stream of the contract, whatever carries it."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from isthmus.contract.contract_pb2 import Action, ClientEvent

MESSAGE_LIMIT_BYTES = 4 * 1024 * 1024


class Ending(Enum):
    """What the end of a stream means for who began it."""

    OVER = "the turn is over"
    AWAY = "the server went away; a new stream goes on"
    BUSY = "the session runs elsewhere; later, a new stream may go on"
    REFUSED = "a new stream would end the same way"


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """How a stream ended. `heard` says that the server had begun to act, `taken` that it stored
    what the stream brought: it showed another state than the one it began with, and no pause.
    """

    ending: Ending
    details: str
    heard: bool = False
    taken: bool = False


class Wire(Protocol):
    """One stream, both ways. Nothing here raises but for cancellation."""

    async def send(self, event: ClientEvent) -> bool:
        """Send; False when the stream has ended."""
        ...

    async def receive(self) -> Action | None:
        """The next action; None when the stream has ended."""
        ...

    async def end(self) -> StreamEnd:
        """How it ended; asked after `receive` gave None."""
        ...


class Dial(Protocol):
    """Opens streams."""

    def open(self) -> AbstractAsyncContextManager[Wire]:
        """A stream on a connection of its own; leaving ends both. A server that cannot be reached
        is a stream that has ended.
        """
        ...


class Ended:
    """A stream that never began."""

    def __init__(self, end: StreamEnd) -> None:
        self._end = end

    async def send(self, event: ClientEvent) -> bool:
        """Nothing is sent."""
        del event
        return False

    async def receive(self) -> Action | None:
        """Nothing comes."""
        return None

    async def end(self) -> StreamEnd:
        """Why."""
        return self._end
