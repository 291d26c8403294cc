"""The layers around every request: the record of it, and the limit of its body."""

import re
import time
from collections.abc import Awaitable, Callable
from itertools import count
from math import isfinite
from secrets import token_hex

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isthmus.core.errors import Rejected, TooLarge
from isthmus.core.events import REQUEST_ID, HttpServed
from isthmus.core.notes import NOTES
from isthmus.core.ports import Clock, Telemetry
from isthmus.core.trace import TRACE, Traces, deepen
from isthmus.edge.http.exchange import EXCHANGE, Exchange, Sender

BOUND: dict[str, str] = {
    "x-gitlab-language-server-version": "gitlab_language_server_version",
    "x-gitlab-instance-id": "gitlab_instance_id",
    "x-gitlab-global-user-id": "gitlab_global_user_id",
    "x-gitlab-host-name": "gitlab_host_name",
    "x-gitlab-version": "gitlab_version",
    "x-gitlab-saas-duo-pro-namespace-ids": "gitlab_saas_duo_pro_namespace_ids",
    "x-gitlab-root-namespace-id": "gitlab_root_namespace_id",
    "x-gitlab-feature-enabled-by-namespace-ids": "gitlab_feature_enabled_by_namespace_ids",
    "x-gitlab-feature-enablement-type": "gitlab_feature_enablement_type",
    "x-gitlab-realm": "gitlab_realm",
    "x-gitlab-is-team-member": "is_gitlab_team_member",
    "x-gitlab-organization-id": "gitlab_organization_id",
    "x-gitlab-enabled-instance-verbose-ai-logs": "enabled-instance-verbose-ai-logs",
}
"""Request header -> field of the log. Source: HTTP gateway contract, section 10.3."""

VALUE_LIMIT = 256
WALL_KEPT_S = 1.0
"""How long wall time is told from the clock's movement, before the machine is asked again."""

LEFT_STATUS = 499

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,256}")


class Access:
    """Outermost: the request's id, the headers that every answer has, and the record of it.

    `template` names the route of a request that never reached the router; `traces` begins spans.
    """

    def __init__(
        self,
        app: ASGIApp,
        telemetry: Telemetry,
        clock: Clock,
        template: Callable[[str], str],
        traces: Traces | None = None,
    ) -> None:
        self._app = app
        self._traces = traces
        self._telemetry = telemetry
        self._clock = clock
        self._template = template
        # Unique, and no secret: asking the kernel for chance on every request costs more.
        self._process = token_hex(8)
        self._numbers = count()
        self._wall_s = 0.0
        self._wall_at_s = float("-inf")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _refuse(scope, send)
            return
        cpu_s = time.thread_time()
        exchange = scope[EXCHANGE] = Exchange(scope, receive, send, self._clock)
        exchange.arrived_at_s = self._wall(exchange.began_s)
        request_id = self._request_id(exchange.headers)
        exchange.extra_headers = ((b"x-request-id", request_id.encode()),)
        # The server runs each request in a context of its own, so nothing has to be put back.
        REQUEST_ID.set(request_id)
        NOTES.set(exchange.notes)
        if self._traces is not None:
            begin_span(self._traces, scope)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        finally:
            self._telemetry.emit(self._record(scope, exchange, request_id, cpu_s))
            # Scope and exchange know each other: parted, they need no garbage collector.
            del scope[EXCHANGE]

    def _request_id(self, headers: dict[str, str]) -> str:
        """The caller's, when it is short and visible ASCII, or a new one."""
        told = headers.get("x-request-id", "")
        if told and _REQUEST_ID.fullmatch(told):
            return told
        return f"{self._process}{next(self._numbers):016x}"

    def _wall(self, now_s: float) -> float:
        """Wall time; a `datetime` is made once in a while and not for every request."""
        if now_s - self._wall_at_s > WALL_KEPT_S:
            self._wall_s, self._wall_at_s = self._clock.utc().timestamp(), now_s
        return self._wall_s + (now_s - self._wall_at_s)

    def _record(
        self, scope: Scope, exchange: Exchange, request_id: str, cpu_s: float
    ) -> HttpServed:
        headers, began_s = exchange.headers, exchange.began_s
        peer: tuple[str, int] | None = scope.get("client")
        path, query = scope["path"], scope["query_string"]
        started_at_s, first_chunk_at_s = exchange.started_at_s, exchange.first_chunk_at_s
        # By position: by name it takes several times as long.
        return HttpServed(
            scope["method"],
            exchange.route or self._template(path),
            f"{path}?{query.decode('latin-1')}" if query else path,
            exchange.status or (LEFT_STATUS if exchange.gone else 500),
            scope["http_version"],
            f"{peer[0]}:{peer[1]}" if peer else "",
            headers.get("user-agent", "")[:VALUE_LIMIT],
            request_id,
            exchange.arrived_at_s,
            self._clock.now_s() - began_s,
            started_at_s - began_s if started_at_s else 0.0,
            first_chunk_at_s - began_s if first_chunk_at_s else 0.0,
            time.thread_time() - cpu_s,
            exchange.content_type,
            exchange.gone or not exchange.complete,
            _bound(exchange.sender),
            (
                *exchange.fields,
                ("duration_request", _duration_request(headers, exchange.arrived_at_s)),
            ),
            exchange.own_s,
        )


def begin_span(traces: Traces, scope: Scope) -> None:
    """Begin a request's span: inside of its caller's if that told one, or of our own at hand."""
    if TRACE.get() is not None:
        deepen()
        return
    parent, states = b"", list[bytes]()
    for name, value in scope["headers"]:
        if name == b"traceparent":
            # Two parents are none.
            parent = b"" if parent else value
        elif name == b"tracestate":
            states.append(value)
    TRACE.set(traces.begin(parent.decode("latin-1"), b",".join(states).decode("latin-1")))


def _bound(sender: Sender) -> tuple[tuple[str, str], ...]:
    """The fields of the log that come from headers; they are the same with every request."""
    bound = sender.bound
    if bound is None:
        bound = sender.bound = tuple(
            [
                (BOUND[name], value[:VALUE_LIMIT])
                for name, value in sender.headers.items()
                if name in BOUND
            ]
        )
    return bound


def _duration_request(headers: dict[str, str], arrived_at_s: float) -> float:
    """Seconds from the instance's sending to our receiving; -1 when it did not say."""
    if "x-gitlab-rails-send-start" not in headers:
        return -1
    try:
        sent_at_s = float(headers["x-gitlab-rails-send-start"][:VALUE_LIMIT])
    except ValueError:
        return -1
    return arrived_at_s - sent_at_s if isfinite(sent_at_s) else -1


async def _refuse(scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    # The way in which an application tells a server that it has no such protocol.
    raise NotImplementedError(f"no {scope['type']} here")


class BodyLimit:
    """Refuses a body over the limit: by its declared length before reading, else while reading."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange: Exchange = scope[EXCHANGE]
        length = exchange.length
        if length is None:
            return self._app(scope, self._counted(receive), send)
        if not length.isdecimal():
            raise Rejected("Malformed Content-Length header")
        # A number too long to be read as one is over any limit.
        if len(length) > 18 or int(length) > self._limit_bytes:
            raise self._too_large()
        return self._app(scope, receive, send)

    def _counted(self, receive: Receive) -> Receive:
        size = 0

        async def read() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._limit_bytes:
                raise self._too_large()
            return message

        return read

    def _too_large(self) -> TooLarge:
        detail = f"The body is larger than {self._limit_bytes} bytes."
        return TooLarge(detail, self._limit_bytes)
