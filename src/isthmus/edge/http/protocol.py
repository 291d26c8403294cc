"""A client's connection: uvicorn's protocol, and a short way for what comes or leaves as a whole.

ASGI hands a body and an answer on as messages, each of them through several coroutines. Nearly
every body is here before its handler begins, and nearly every answer is known when it begins to
leave: then one call does. Everything else takes uvicorn's own way.
"""

import asyncio
import math
from collections.abc import Sequence

from starlette.types import Scope
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from isthmus.edge.http.cork import JOIN_LIMIT_BYTES, Cork
from isthmus.edge.http.exchange import HEAD, LINE, TASK, Head, Sender

PASSING = frozenset(
    {
        *(b"content-length", b"expect", b"traceparent", b"tracestate", b"x-request-id"),
        b"x-gitlab-rails-send-start",
    }
)
"""Headers of which no two requests say the same."""
_NAME = bytes(byte for byte in range(256) if not HEADER_RE.search(bytes((byte,))))
_VALUE = bytes(byte for byte in range(256) if not HEADER_VALUE_RE.search(bytes((byte,))))
"""What uvicorn lets stand in an answer's headers."""
_BODILESS = frozenset({204, 304})
_NAMES_KEPT = 512
_known_names: set[bytes] = set()
"""Names of answers' headers that may stand there; some dozens, as vendors' are listed."""


def _learnt(names: Sequence[bytes]) -> bool:
    """Whether these names may stand in an answer; they are remembered, up to a bound."""
    if b"".join(names).translate(None, _NAME):
        return False
    if len(_known_names) < _NAMES_KEPT:
        _known_names.update(names)
    return True


class CorkedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, whose answers leave in one piece. Implements `exchange.Line`."""

    _cork: Cork
    _idle_s = math.inf
    _lasting: list[tuple[bytes, bytes]]
    _lost = False
    sender: Sender | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - uvicorn takes what TCP gives
        """A client has connected."""
        self._cork = Cork(transport)
        super().connection_made(self._cork)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        # Requests know their connection. Did it go on to know them, all would stay, bodies and
        # sockets with them, until somebody collects them.
        self._lost = True
        self.pipeline.clear()
        for name in ("cycle", "scope", "headers", "sender"):
            self.__dict__.pop(name, None)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._lasting = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the headers that are new with every request apart from those that stay the same."""
        name = name.lower()
        if name not in PASSING:
            self._lasting.append((name, value))
        elif name == b"expect":
            super().on_header(name, value)
        else:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head of a request is here."""
        scope: Scope = self.scope  # pyright: ignore[reportAssignmentType] - uvicorn's is narrower
        scope[LINE] = self
        scope[HEAD] = head = Head(tuple(self.headers), tuple(self._lasting))
        self.headers += head.lasting
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        # uvicorn's own way, but the task is noted: `asyncio.current_task` costs a system call.
        task = self.loop.create_task(cycle.run_asgi(app))
        cycle.scope[TASK] = task  # pyright: ignore[reportGeneralTypeIssues] - a key of our own
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def whole_body(self, scope: Scope) -> bytes | None:
        """See `Line`: what uvicorn's `receive` gives at once, when that is all."""
        if self._lost:
            return None
        cycle = self.cycle
        if (
            cycle.scope is not scope
            or cycle.more_body
            or cycle.waiting_for_100_continue
            or cycle.disconnected
            or cycle.response_complete
        ):
            return None
        self.flow.resume_reading()
        cycle.message_event.clear()
        body, cycle.body = bytes(cycle.body), bytearray()
        return body

    def whole_answer(
        self, scope: Scope, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes
    ) -> bool:
        """See `Line`: what uvicorn's `send` does with the two messages of a whole answer."""
        head = self._head_of(scope, headers)
        if head is None:
            return False
        cycle = self.cycle
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        if len(body) <= JOIN_LIMIT_BYTES:
            self._cork.send(b"%b%b\r\n\r\n%b" % (STATUS_LINE[status], head, body))
        else:
            self._cork.send(b"%b%b\r\n\r\n" % (STATUS_LINE[status], head))
            self._cork.send(body)
        cycle.message_event.set()
        self.on_response_complete()
        return True

    def begun_answer(
        self, scope: Scope, status: int, headers: Sequence[tuple[bytes, bytes]]
    ) -> bool:
        """See `Line`: what uvicorn's `send` does with the first message of a streamed answer."""
        head = self._head_of(scope, headers)
        if head is None or status in _BODILESS:
            return False
        cycle = self.cycle
        cycle.response_started = cycle.chunked_encoding = True
        cycle.waiting_for_100_continue = False
        self._cork.write(
            b"%b%b\r\ntransfer-encoding: chunked\r\n\r\n" % (STATUS_LINE[status], head)
        )
        return True

    def _head_of(self, scope: Scope, headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
        """The lines of an answer's headers; None where uvicorn's own way must be taken."""
        if self._lost:
            return None
        cycle = self.cycle
        if (
            cycle.scope is not scope
            or cycle.response_started
            or cycle.disconnected
            or not cycle.keep_alive
            or self.flow.write_paused
            or scope["method"] == "HEAD"
        ):
            return None
        names, values = zip(*headers, strict=True)
        # Names are few, and looked at once; of values, what is left when the good bytes are taken
        # away: much faster than uvicorn's patterns, which refuse the others in its own words.
        if not _known_names.issuperset(names) and not _learnt(names):
            return None
        if b"".join(values).translate(None, _VALUE):
            return None
        return b"\r\n".join([b"%b: %b" % header for header in headers])

    # One timer a connection looks whether it is idle, where uvicorn sets a new one a request.

    def _unset_keepalive_if_required(self) -> None:
        self._idle_s = math.inf

    def on_response_complete(self) -> None:
        """An answer is out: the next request may begin, or the client is idle from now on."""
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._idle_s = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_in(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """Close what has been idle for long enough."""
        self.timeout_keep_alive_task = None
        left_s = self._idle_s + self.timeout_keep_alive - self.loop.time()
        if left_s <= 0.0:
            super().timeout_keep_alive_handler()
        elif left_s < math.inf:
            self._look_in(left_s)

    def _look_in(self, seconds: float) -> None:
        handler = self.timeout_keep_alive_handler
        self.timeout_keep_alive_task = self.loop.call_later(seconds, handler)
