"""What processes that spend of shared limits are told, and what they note."""

from typing import Any

from msgspec import Struct, field

SMALL, BIG = "small", "big"
"""Features: calls that are counted, and those whose tokens are."""

Moment = tuple[float, int]
Grant = tuple[float, float, int]
"""When it was asked for, when it was there, and how much: it was spent in between."""


class Plan(Struct):
    """`start_s` and `end_s` are of the clock that all processes of a machine share."""

    settings: dict[str, Any]
    clients: int
    start_s: float
    end_s: float
    out: str
    pace_s: float = 0.0
    """The mean pause of a client between two calls; 0: none."""


class Notes(Struct):
    """What one process was granted, and when."""

    requests: list[Grant] = field(default_factory=list[Grant])
    tokens: list[Grant] = field(default_factory=list[Grant])
    running: list[Moment] = field(default_factory=list[Moment])
    """One more, or one less."""
    waits_s: list[float] = field(default_factory=list[float])
    took_s: list[float] = field(default_factory=list[float])
    """Whole calls, of servers."""
    lags_s: list[float] = field(default_factory=list[float])
    """By how much naps were too long: what the machine alone adds to everything."""
    lost: list[tuple[float, bool]] = field(default_factory=list[tuple[float, bool]])
    refused: int = 0
    cpu_s: float = 0.0
