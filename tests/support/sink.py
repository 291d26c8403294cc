"""A telemetry sink that keeps what it is told."""

from typing import TypeVar

from isthmus.core.events import Fact

Kind = TypeVar("Kind")


class MemorySink:
    """Remembers every fact, in order."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []

    def emit(self, fact: Fact) -> None:
        self.facts.append(fact)

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [fact for fact in self.facts if isinstance(fact, kind)]
