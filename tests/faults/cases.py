"""The cases: every route and dialect, every fault, after every piece of the vendor's answer."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from tests.faults.routes import ROUTES, Route
from tests.faults.vendors import DIALECTS
from tests.support.faulty_upstream import BEFORE, Fault, Script

_EVERYWHERE: tuple[Fault, ...] = ("reset", "close", "stall", "hold", "nonsense")
_IN_BODY: tuple[Fault, ...] = ("end", "short", "unframed", "error", "garbage", "drip")
_STATUSES = (
    (400, ""),
    (401, ""),
    (403, ""),
    (404, ""),
    (429, "retry-after: 7"),
    (500, ""),
    (529, ""),
)
_PLAIN: tuple[Fault, ...] = ("reset", "close", "stall", "hold", "drip")


@dataclass(frozen=True)
class Case:
    """One request; its name is in its body and is its request id."""

    name: str
    route: Route
    dialect: str
    script: Script

    @property
    def whole(self) -> bool:
        """Whether the vendor has said everything, up to its own end."""
        script = self.script
        return script.fault in {"none", "drip"} or script.at >= len(script.pieces)

    def __str__(self) -> str:
        script = self.script
        place = script.status if script.fault == "status" else script.at
        return f"{self.route.name}, {self.dialect}: {script.fault} at {place}"


_numbers = itertools.count(1)


def named() -> str:
    """A name that no other case has."""
    return f"case{next(_numbers):07d}z"


def cases(route: Route, dialect: str) -> list[Case]:
    """Every case of a route and a dialect; the first one is without a fault."""
    return [Case(named(), route, dialect, script) for script in _scripts(route, dialect)]


def _scripts(route: Route, dialect: str) -> Iterator[Script]:
    spoken = DIALECTS[dialect]
    pieces, media = route.pieces(dialect), route.media(dialect)

    def script(fault: Fault, at: int = BEFORE) -> Script:
        return Script(pieces, fault, at, media, spoken.error, spoken.garbage)

    yield script("none")
    for status, header in _STATUSES:
        headers = (header,) if header else ()
        yield Script(pieces, "status", BEFORE, media, status=status, headers=headers)
    streamed = media != "application/json"
    everywhere = _EVERYWHERE if streamed else _PLAIN[:-1]
    for fault in everywhere:
        yield script(fault)
    for at in range(len(pieces) + 1):
        for fault in everywhere:
            if fault != "hold" or at < len(pieces):
                yield script(fault, at)
        if not streamed:
            continue
        for fault in _IN_BODY:
            # The last piece is the vendor's end: nothing that comes later changes the answer.
            if at < len(pieces):
                yield script(fault, at)


GROUPS = [(route, dialect) for route in ROUTES for dialect in route.dialects]
