"""A telemetry that keeps the last facts it was told, for tests and for diagnosis."""

from collections import deque
from collections.abc import Sequence
from typing import TypeVar

from isthmus.adapters.telemetry.pipeline import Told
from isthmus.core.events import Fact

Kind = TypeVar("Kind")


class Memory:
    """Stands alone as a Telemetry (`emit`), or in a pipeline as a sink (the object itself)."""

    def __init__(self, limit: int = 10_000) -> None:
        self._facts: deque[Fact] = deque(maxlen=limit)

    @property
    def facts(self) -> tuple[Fact, ...]:
        """What was told, in order; the oldest are forgotten first."""
        return tuple(self._facts)

    def of(self, kind: type[Kind]) -> list[Kind]:
        """The facts of one kind."""
        return [fact for fact in self._facts if isinstance(fact, kind)]

    def emit(self, fact: Fact) -> None:
        """Take a fact."""
        self._facts.append(fact)

    def __call__(self, batch: Sequence[Told]) -> None:
        """Take a batch of a pipeline."""
        self._facts.extend(fact for _, _, fact in batch)
