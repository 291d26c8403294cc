"""Who may write a session: one runner at a time, and a number that tells who is late."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Lease:
    """A session in the hands of a runner.

    `fence` grows each time the session changes hands: whoever writes with an older one is late.
    A runner is one process that runs sessions, by an id that it makes up when it starts.
    """

    thread_id: str
    runner: str
    fence: int


class Leases(Protocol):
    """Who runs which session, among all processes on a database."""

    async def beats(self, own: Mapping[str, int]) -> Mapping[str, int]:
        """Write the caller's own beat, when there is one, and tell those of all runners."""
        ...

    async def take(self, thread_id: str, runner: str, client: str = "") -> Lease:
        """The session, if nobody else holds it, or whoever does is not known (any more).

        `client` names the client that it is taken for, "" where that one has no name. A client that
        comes back takes its session from whoever held it for that client: it has left there.
        Raises Unavailable when another runner has it.
        """
        ...

    async def release(self, lease: Lease) -> None:
        """Let go; a lease that is another's already stays as it is."""
        ...

    async def reap(self, dead: str, beat: int, at: datetime) -> Sequence[str]:
        """Strike a dead runner off: all that it holds is free, and its records say so, as of `at`.

        Unless it has gone on from this beat. Tells which records were running and are paused now;
        of two who do so, one is told.
        """
        ...

    async def leave(self, runner: str) -> None:
        """Let go of everything; the runner ends."""
        ...
