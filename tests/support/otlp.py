"""A collector of OpenTelemetry on a real socket, which reads by the protocol's own types."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

IDS = ("traceId", "spanId", "parentSpanId")


@dataclass(frozen=True)
class Span:
    """A span as it was received; ids in hexadecimal."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    seconds: float
    error: str
    attributes: dict[str, object]
    resource: dict[str, object]


@dataclass
class Collected:
    """What a collector was sent; `statuses` are its next answers, then 200."""

    url: str = ""
    spans: list[Span] = field(default_factory=list[Span])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    statuses: list[int] = field(default_factory=list[int])
    news: threading.Condition = field(default_factory=threading.Condition)

    def named(self, name: str) -> list[Span]:
        """The spans of this name."""
        return [span for span in self.spans if span.name == name]

    def wait_for(self, *names: str, limit_s: float = 20.0) -> None:
        """Return once there is a span of each name."""
        with self.news:
            there = self.news.wait_for(lambda: all(map(self.named, names)), limit_s)
        assert there, [span.name for span in self.spans]

    def take(self, body: bytes, headers: dict[str, str]) -> int:
        """Read a request; the status of its answer."""
        with self.news:
            if self.statuses:
                return self.statuses.pop(0)
            self.headers.append(headers)
            self.spans += decoded(body)
            self.news.notify_all()
        return 200


def decoded(body: bytes) -> list[Span]:
    """The spans of a request. Fails when the protocol's types do not have what it says."""
    document = json.loads(body, object_hook=_with_base64)
    request = json_format.ParseDict(document, ExportTraceServiceRequest())
    return [
        Span(
            name=span.name,
            kind=span.kind,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
            error=span.status.message,
            attributes=_pairs(span.attributes),
            resource=_pairs(of.resource.attributes),
        )
        for of in request.resource_spans
        for scope in of.scope_spans
        for span in scope.spans
    ]


@contextmanager
def collecting() -> Iterator[Collected]:
    """A collector on a free port."""
    collected = Collected()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            known = self.path == "/v1/traces"
            status = collected.take(body, dict(self.headers)) if known else 404
            self.send_response(status)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collected.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield collected
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _with_base64(held: dict[str, Any]) -> dict[str, Any]:
    """Ids as protobuf's own JSON has them; OTLP's differs in them alone."""
    for name in IDS:
        if name in held:
            held[name] = base64.b64encode(bytes.fromhex(held[name])).decode()
    return held


def _pairs(pairs: Any) -> dict[str, object]:
    found: dict[str, object] = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind)
        if kind == "array_value":
            value = [item.string_value for item in value.values]
        found[pair.key] = value
    return found
