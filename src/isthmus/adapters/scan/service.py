"""A service that searches texts for orders to a model: one small exchange of JSON a window.

It is sent `{"text", "tool", "trust"}` and answers `{"found": true or false, "rule": "..."}`.
"""

import re
from dataclasses import dataclass, field
from typing import Final

import msgspec
from msgspec import Struct

from isthmus.core.deadline import Deadline
from isthmus.core.errors import UpstreamFailed
from isthmus.core.messages import OutboundRequest
from isthmus.core.ports import Clock, Outbound
from isthmus.platform.scan import Subject

WINDOW_CHARS: Final = 16_000
OVERLAP_CHARS: Final = 1_000
MOST_CHARS: Final = 256_000
"""Of a longer text the beginning and the end are searched, half of this each."""
ANSWER_BYTES: Final = 16_384
RULE_CHARS: Final = 64
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9_.-]")


class Answer(Struct, frozen=True):
    """What the service says of a window. `rule` is its own name for what it found."""

    found: bool
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """Where it is. `token` is never shown."""

    url: str
    timeout_s: float
    token: str = field(default="", repr=False)


class ServiceScanner:
    """Implements `Scanner`."""

    def __init__(self, service: Service, outbound: Outbound, clock: Clock) -> None:
        self._service = service
        self._outbound = outbound
        self._clock = clock
        self._headers: tuple[tuple[str, str], ...] = (
            ("content-type", "application/json"),
            ("accept", "application/json"),
        )
        if service.token:
            self._headers += (("authorization", f"Bearer {service.token}"),)

    async def scan(self, subject: Subject) -> str:
        """What the service names first, window by window; "" for nothing.

        Raises UpstreamFailed, UpstreamTimeout or UpstreamUnreachable.
        """
        limit_s = self._service.timeout_s
        deadline = Deadline(self._clock.now_s() + limit_s, limit_s, limit_s, limit_s)
        for window in windows(subject.text):
            body = {"text": window, "tool": subject.tool, "trust": subject.trust}
            answer = await self._ask(msgspec.json.encode(body), deadline)
            if answer.found:
                return _FOREIGN.sub("_", answer.rule[:RULE_CHARS]) or "service"
        return ""

    async def _ask(self, body: bytes, deadline: Deadline) -> Answer:
        request = OutboundRequest("POST", self._service.url, self._headers, body)
        async with self._outbound.open(request, deadline) as reply:
            data = await reply.read(ANSWER_BYTES)
            if reply.status != 200:
                raise UpstreamFailed("The scanner answered with an error.", status=reply.status)
        try:
            return msgspec.json.decode(data, type=Answer)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise UpstreamFailed("The scanner's answer cannot be read.", status=200) from error


def windows(text: str) -> list[str]:
    """The text in pieces that overlap, so that what stands across an edge is whole in one."""
    if len(text) > MOST_CHARS:
        return windows(text[: MOST_CHARS // 2]) + windows(text[-MOST_CHARS // 2 :])
    step = WINDOW_CHARS - OVERLAP_CHARS
    last = max(len(text) - OVERLAP_CHARS, 1)
    return [text[start : start + WINDOW_CHARS] for start in range(0, last, step)]
