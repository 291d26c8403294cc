"""Ports of what governs calls to models: what they may cost, and what may leave.

The model layer (`routing/models.py`) is their one user.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from isthmus.core.limits import Claim, LimitState
from isthmus.core.messages import Answer, Chat, Delta, Destination, Infill
from isthmus.core.ports import Limiter


class Reservation(Protocol):
    """Units that were reserved for one call, until they are settled."""

    @property
    def tightest(self) -> LimitState | None:
        """How the counter stands that may refuse the caller first; None: none may."""
        ...

    @property
    def shadowed(self) -> Sequence[LimitState]:
        """Those that would have refused it, were they not in shadow."""
        ...

    async def grow(self, units: Mapping[str, int]) -> None:
        """Reserve more, by what is counted, as an answer outgrows its estimate.

        Raises LimitExceeded; what was reserved before stays reserved.
        """
        ...

    def settle(self, units: Mapping[str, int]) -> None:
        """What was really used, by what is counted; concurrency is given back.

        Never waits, never raises; a second call does nothing. Requests stay counted.
        """
        ...


class Reserver(Limiter, Protocol):
    """A limiter that also holds units for a call whose use is known at its end alone."""

    async def reserve(self, claims: Sequence[Claim]) -> Reservation:
        """Reserve all of them or none. Raises LimitExceeded, naming the rule that refuses."""
        ...


class Marks(Protocol):
    """What stands in the place of secrets; a session's own can be undone for its executor."""

    def mark(self, rule: str, secret: str) -> str:
        """The text that goes in its place."""
        ...


class Guarded(Protocol):
    """What a guard made of one call, and how it reads the answer."""

    @property
    def prompt(self) -> Chat | Infill:
        """What may leave: the same object when nothing was found."""
        ...

    def feed(self, delta: Delta) -> Sequence[Delta]:
        """What of an answer may go on now; the rest is held back until it is known to be clean.

        Raises Withheld.
        """
        ...

    def finish(self) -> Sequence[Delta]:
        """What was held back, at the end of an answer without a delta that carries `finish`.

        Raises Withheld.
        """
        ...

    def answer(self, answer: Answer) -> Answer:
        """A whole answer that may go on, instead of its deltas: the same when nothing was found.

        Raises Withheld.
        """
        ...


class RelayedFilter(Protocol):
    """Reads a forwarded answer's bytes; chunks in which nothing is found pass as they came."""

    def feed(self, chunk: bytes) -> bytes:
        """What may go on now. Raises Withheld."""
        ...

    def whole(self, text: bytes) -> bytes:
        """Instead of the others, for an answer that is here from its beginning to its end."""
        ...

    def finish(self) -> bytes:
        """What was held back. Raises Withheld."""
        ...


class Guard(Protocol):
    """Says what may leave to a model, and what may come back of it. Pure computation."""

    def call(
        self, prompt: Chat | Infill, destination: Destination, marks: Marks | None = None
    ) -> Guarded | None:
        """What may leave; None when no policy looks at this destination. Raises Withheld.

        `marks` are the session's own, where the call is a session's.
        """
        ...

    def texts(self, texts: tuple[str, ...], destination: Destination) -> tuple[str, ...]:
        """Texts that may leave for embeddings; the same object when nothing was found.

        Raises Withheld.
        """
        ...

    def body(self, body: bytes, destination: Destination) -> bytes:
        """A forwarded body that may leave: the same object when nothing was found.

        Raises Withheld.
        """
        ...

    def relayed(self, content_type: str, destination: Destination) -> RelayedFilter | None:
        """What a forwarded answer passes through; None when no policy looks at it."""
        ...
