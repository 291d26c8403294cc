"""What every check has at hand: the settings, the environment, the clients."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from isthmus.core.deadline import Deadline
from isthmus.core.ports import Clock, Telemetry
from isthmus.doctor.finding import Finding
from isthmus.doctor.watched import Watched
from isthmus.settings import Settings


@dataclass(frozen=True, slots=True)
class Asked:
    """What the operator wants looked at besides the settings."""

    token: str = field(default="", repr=False)
    via: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """One examination. `limit_s` is what each check may take, `began_s` when all of them began."""

    settings: Settings
    sources: Mapping[str, str]
    environ: Mapping[str, str]
    asked: Asked
    clock: Clock
    outbound: Watched
    limit_s: float
    began_s: float

    def deadline(self) -> Deadline:
        """Limits of one outbound call: it ends a little before the check would be cut off."""
        limit_s = self.limit_s * 0.9
        return Deadline(self.began_s + limit_s, limit_s, limit_s, limit_s)

    def source(self, path: str) -> str:
        """Where a setting has its value from, in words."""
        return self.sources.get(path, "default")

    @cached_property
    def telemetry(self) -> Telemetry:
        """Takes the facts of the adapters that are tried, and keeps none."""
        return _Deaf()


class _Deaf:
    def emit(self, fact: object) -> None:
        del fact


Check: TypeAlias = Callable[[Case], Awaitable[Sequence[Finding]]]
