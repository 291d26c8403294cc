"""An HTTP client that remembers of each answer what the clock and the models are judged by."""

import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from isthmus.core.deadline import Deadline
from isthmus.core.messages import OutboundRequest
from isthmus.core.ports import Outbound, OutboundReply


class Watched:
    """The Outbound port over another one.

    `skews` are seconds by which a server's clock is ahead of ours; `types` are the media types of
    good answers to POST requests, by URL.
    """

    def __init__(self, inner: Outbound) -> None:
        self._inner = inner
        self.skews: dict[str, float] = {}
        self.types: dict[str, str] = {}

    def open(
        self, request: OutboundRequest, deadline: Deadline
    ) -> AbstractAsyncContextManager[OutboundReply]:
        """See `Outbound.open`."""
        return self._open(request, deadline)

    @asynccontextmanager
    async def _open(
        self, request: OutboundRequest, deadline: Deadline
    ) -> AsyncIterator[OutboundReply]:
        sent_s = time.time()
        async with self._inner.open(request, deadline) as reply:
            self._note(request, reply, sent_s)
            yield reply

    def _note(self, request: OutboundRequest, reply: OutboundReply, sent_s: float) -> None:
        headers = dict(reply.headers)
        skew_s = skew_of(headers.get("date", ""), sent_s, time.time())
        if skew_s is not None:
            self.skews[urlsplit(request.url).netloc] = skew_s
        if request.method == "POST" and reply.status == 200:
            self.types[request.url] = headers.get("content-type", "")


def skew_of(date: str, sent_s: float, received_s: float) -> float | None:
    """Seconds by which the server that wrote `date` is ahead; 0 for what the way may explain."""
    try:
        told_s = parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return None
    # The header has whole seconds: the server's clock shows up to one more.
    if told_s > received_s:
        return told_s - received_s
    return min(told_s + 1.0 - sent_s, 0.0)
