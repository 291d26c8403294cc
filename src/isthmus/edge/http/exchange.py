"""One HTTP request and its answer, as seen so far: what the layers around a handler share."""

from collections.abc import Awaitable, Callable, Sequence
from math import nan
from typing import NamedTuple, Protocol, TypeAlias

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from isthmus.auth.verify import Claims
from isthmus.core.errors import ClientGone, Failure
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.notes import Notes
from isthmus.core.ports import Clock
from isthmus.edge.http import ratelimit

EXCHANGE = "isthmus.exchange"
"""Where a scope keeps its Exchange; the busy ways look there without a call."""
LINE = "isthmus.line"
"""Where a scope keeps its Line, when the server is one."""
HEAD = "isthmus.head"
"""Where a scope keeps its Head, when it has a Line."""
TASK = "isthmus.task"
"""Where a scope keeps the task that runs its request, when the server tells."""

_PREFIX = b"x-gitlab-"
_READ = (
    *("authorization", "bypass-auth", "content-length", "origin"),
    *("user-agent", "x-request-id"),
)
_NAMES_KEPT = 512
_NAME_KEPT_BYTES = 64


class _Names(dict[bytes, str]):
    """Header name -> its text, or nothing when nobody here reads the header.

    Learns the names that come, up to a bound, so that most headers cost one lookup.
    """

    def __missing__(self, name: bytes) -> str:
        text = name.decode("latin-1") if name.startswith(_PREFIX) else ""
        if len(self) < _NAMES_KEPT and len(name) <= _NAME_KEPT_BYTES:
            self[name] = text
        return text


_names = _Names((name.encode("ascii"), name) for name in _READ)


Header: TypeAlias = tuple[bytes, bytes]


class Head(NamedTuple):
    """The headers of a request: those that only it has, and those that its sender repeats."""

    passing: tuple[Header, ...]
    lasting: tuple[Header, ...]


class Sender:
    """What headers say that a connection's requests repeat, for as long as they are the same.

    `headers` are those that a layer reads, of repeated ones the first. The others are worked out by
    the layers that need them: `known` is a caller that these very headers proved, with the claims
    to be checked against the time; `bound` the fields of the log.
    """

    __slots__ = ("bound", "headers", "known", "lasting")

    def __init__(self, lasting: Sequence[Header]) -> None:
        self.lasting = lasting
        self.headers: dict[str, str] = {}
        self.known: tuple[Claims, Caller] | None = None
        self.bound: tuple[tuple[str, str], ...] | None = None
        _take(self.headers, lasting)


class Line(Protocol):
    """A server's connection that takes a short way where ASGI's messages are not needed."""

    sender: Sender | None
    """Of the request before."""

    def whole_body(self, scope: Scope) -> bytes | None:
        """The body of this request, when all of it is here and none has been read; once."""
        ...

    def whole_answer(
        self, scope: Scope, status: int, headers: Sequence[Header], body: bytes
    ) -> bool:
        """Send an answer, its length among the headers. False: nothing was sent, so use `send`."""
        ...

    def begun_answer(self, scope: Scope, status: int, headers: Sequence[Header]) -> bool:
        """Send the head of an answer without a length; its pieces, and its end, go by `send`.

        No header speaks of lengths, encodings of the transfer, or the connection. False: nothing
        was sent.
        """
        ...


class Exchange:
    """Stands between the server and the application, and remembers what passed.

    `headers` are those of the request that a layer or ClientInfo reads, of repeated ones the first,
    but for `origin` (was there one?) and `length` (as sent). `arrived_at_s` is wall time, and not a
    number until it is known, so that no token is valid by it; other times are the clock's. `route`
    is the template that the path fitted, once that is known; `extra_headers` go out with whatever
    is answered; `refuse` answers the failures for which this route has words of its own; `fields`
    is for what the access record should say beyond the wire; `own_s` is our own part of the time
    until the answer began; `gone` turns true once the caller has left.
    """

    # Of the class until they change: most requests change few, and each takes time to set.
    own_s = started_at_s = first_chunk_at_s = 0.0
    arrived_at_s = nan
    body_read = complete = gone = origin = False
    route = ""
    refuse: Callable[[Failure], Response | None] | None = None
    status = 0
    content_type = "unknown"
    caller: Caller | None = None
    client: ClientInfo | None = None
    extra_headers: tuple[Header, ...] = ()
    length: str | None = None
    headers: dict[str, str]
    sender: Sender

    def __init__(self, scope: Scope, receive: Receive, send: Send, clock: Clock) -> None:
        self._receive = receive
        self._send = send
        self._now_s = clock.now_s
        self.began_s = clock.now_s()
        self.notes = Notes()
        self.fields: list[tuple[str, object]] = []
        self._read(scope)

    def _read(self, scope: Scope) -> None:
        """The headers; those that the connection's last request had as well are not read again."""
        line: Line | None = scope.get(LINE)
        if line is None:
            self.sender = Sender(scope["headers"])
            self.headers = headers = self.sender.headers.copy()
        else:
            passing, lasting = scope[HEAD]
            sender = line.sender
            # Whole headers are compared, the token among them: nobody is taken for another one.
            if sender is None or sender.lasting != lasting:
                sender = line.sender = Sender(lasting)
            self.sender = sender
            self.headers = headers = sender.headers.copy()
            _take(headers, passing)
        if "origin" in headers:
            self.origin = True
            del headers["origin"]
        if "content-length" in headers:
            self.length = headers["content-length"]
            del headers["content-length"]

    @property
    def started(self) -> bool:
        """Whether the status line went out."""
        return self.status != 0

    def wall_s(self) -> float:
        """Wall time, as the clock has moved since the request came."""
        return self.arrived_at_s + self._now_s() - self.began_s

    async def receive(self) -> Message:
        """The next piece of the request. Raises ClientGone instead of telling of a disconnect."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.gone = not self.complete
            raise ClientGone("The client left.")
        if not message.get("more_body", False):
            self.body_read = True
        return message

    def body(self, scope: Scope) -> bytes | None:
        """The whole body when it is here already, its length as declared; None: use `receive`."""
        line: Line | None = scope.get(LINE)
        if line is None or self.length is None:
            return None
        body = line.whole_body(scope)
        self.body_read = body is not None
        return body

    def answer(self, scope: Scope, status: int, headers: Sequence[Header], body: bytes) -> bool:
        """Send a whole answer at once. False: nothing was sent, so use `send`."""
        line: Line | None = scope.get(LINE)
        if line is None or self.status:
            return False
        now_s = self._now_s()
        if not line.whole_answer(scope, status, self._all(headers, now_s), body):
            return False
        self.status = status
        self.started_at_s = now_s
        self.complete = True
        if body:
            self.first_chunk_at_s = now_s
        return True

    def begin(self, scope: Scope, status: int, headers: Sequence[Header]) -> bool:
        """Begin an answer of unknown length at once. False: nothing was sent, so use `send`."""
        line: Line | None = scope.get(LINE)
        if line is None or self.status:
            return False
        now_s = self._now_s()
        if not line.begun_answer(scope, status, self._all(headers, now_s)):
            return False
        self.status = status
        self.started_at_s = now_s
        return True

    def send(self, message: Message) -> Awaitable[None]:
        """Pass a piece of the answer on; the first one gets the headers that every answer has."""
        if message["type"] == "http.response.start":
            self._start(message)
        else:
            self.complete = not message.get("more_body", False)
            if not self.first_chunk_at_s and message.get("body"):
                # A whole answer follows its status line at once: the clock need not be asked again.
                self.first_chunk_at_s = self.started_at_s if self.complete else self._now_s()
        return self._send(message)

    def _start(self, message: Message) -> None:
        self.status = message["status"]
        self.started_at_s = self._now_s()
        message["headers"] = self._all(message.get("headers", ()), self.started_at_s)

    def _all(self, headers: Sequence[Header], now_s: float) -> list[Header]:
        """The headers of an answer that begins now, with those that every answer has."""
        for name, value in headers:
            if name == b"content-type":
                self.content_type = value.decode("latin-1")
                break
        elapsed_s = now_s - self.began_s
        # Tries that ran beside each other may have waited for longer than there was time.
        self.own_s = own_s = max(elapsed_s - self.notes.upstream_s, 0.0)
        limits = self.notes.limits
        return [
            *headers,
            *self.extra_headers,
            *(ratelimit.told(limits) if limits else ()),
            (b"x-process-time", b"%.6f" % elapsed_s),
            (b"server-timing", b"isthmus;dur=%.3f" % (own_s * 1_000.0)),
        ]


def _take(headers: dict[str, str], raw: Sequence[Header]) -> None:
    """Add those headers that a layer or ClientInfo reads."""
    names = _names
    for name, value in raw:
        text = names[name]
        if text and text not in headers:
            headers[text] = value.decode("latin-1")


def exchange_of(scope: Scope) -> Exchange:
    """The exchange of the request whose scope this is."""
    return scope[EXCHANGE]


def note(scope: Scope, name: str, value: object) -> None:
    """Add a field to the request's access record; never a secret, a prompt or an answer."""
    exchange: Exchange = scope[EXCHANGE]
    exchange.fields.append((name, value))
