"""Where a piece of work stands in a trace that may cross servers.

Source: W3C Trace Context, "traceparent Header" and "tracestate Header".
"""

import random
import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

from msgspec import Struct

_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STATE: Final = re.compile(r"[\x20-\x7e]{1,512}")


class Trace(Struct, frozen=True, gc=False):
    """A span that has begun. `sent`: it will be told to the collector. Ids are in hexadecimal."""

    trace_id: str
    span_id: str
    parent_id: str = ""
    sent: bool = True
    state: str = ""

    def headers(self) -> tuple[tuple[str, str], ...]:
        """What a server that we call is told."""
        parent = f"00-{self.trace_id}-{self.span_id}-{'01' if self.sent else '00'}"
        if self.state:
            return ("traceparent", parent), ("tracestate", self.state)
        return (("traceparent", parent),)


TRACE: ContextVar[Trace | None] = ContextVar("isthmus_trace", default=None)
"""The span at hand; None where nobody wants traces, or outside of a request."""


class Traces:
    """Begins the spans of requests.

    `share` of the traces that begin here is sent. With `believe`, a caller's trace is gone on with,
    and so is its choice of whether to send it. `bits` draws that many random ones.
    """

    def __init__(
        self, share: float, *, believe: bool, bits: Callable[[int], int] = random.getrandbits
    ) -> None:
        self._bound = int(share * 2**56)
        self._believe = believe
        self._bits = bits

    def begin(self, parent: str = "", state: str = "") -> Trace:
        """The span of a request with these headers; what is malformed counts as not sent."""
        told = _PARENT.fullmatch(parent) if self._believe and parent else None
        if told is None or not _meaningful(told):
            trace = self._bits(128) or 1
            sent = trace & (2**56 - 1) < self._bound
            return Trace(f"{trace:032x}", self.new_id(), sent=sent)
        kept = state if _STATE.fullmatch(state) else ""
        sent = bool(int(told[4], 16) & 1)
        return Trace(told[2], self.new_id(), told[3], sent, kept)

    def new_id(self) -> str:
        """The id of a span."""
        return f"{self._bits(64) or 1:016x}"


def deepen() -> None:
    """Begin a span inside of the one at hand; it is at hand for the rest of this task."""
    outer = TRACE.get()
    if outer is not None:
        inner = f"{random.getrandbits(64) or 1:016x}"
        TRACE.set(Trace(outer.trace_id, inner, outer.span_id, outer.sent, outer.state))


def _meaningful(told: re.Match[str]) -> bool:
    """Whether a header of the right form says something: no id is zero, no version 255."""
    version, trace_id, span_id, _, more = told.groups()
    if version == "ff" or (version == "00" and more):
        return False
    return trace_id.strip("0") != "" and span_id.strip("0") != ""
