"""Spans for an OpenTelemetry collector: facts until the loop has time, then written and sent.

Source: OpenTelemetry protocol (OTLP), "OTLP/HTTP" and "JSON Protobuf Encoding".
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

import isthmus
from isthmus.adapters.telemetry.collector import Form, Stream
from isthmus.adapters.telemetry.pipeline import Told, clean
from isthmus.adapters.telemetry.spans import SPANS, Value
from isthmus.core.events import Fact, HttpServed
from isthmus.core.trace import TRACE, Trace, Traces
from isthmus.settings import TracingSettings

PATH: Final = "/v1/traces"
PROBES: Final = frozenset({"/monitoring/healthz", "/monitoring/ready"})
"""Routes that machines ask all the time, and that nobody wants to see traced."""
TEXT_LIMIT_CHARS: Final = 1_024
_ENCODER: Final = msgspec.json.Encoder()
_ERROR: Final = 2
_END: Final = b"]}]}]}"


class Spans:
    """Spans of this process. `tap` hears a fact where it is told; `take` is the pipeline's sink."""

    def __init__(
        self,
        settings: TracingSettings,
        environment: str,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self.traces = Traces(settings.share, believe=settings.believe)
        headers = tuple((name, text.get_secret_value()) for name, text in settings.headers.items())
        head = _head(settings.service, environment)
        form: Form[bytes] = Form(
            url=settings.endpoint.rstrip("/") + PATH,
            batch_size=settings.batch_size,
            headers=(*headers, ("content-type", "application/json")),
            encode=bytes,
            body=lambda spans, _: b"".join((head, b",".join(spans), _END)),
        )
        self.stream: Stream[bytes] = Stream("traces", form, settings.queue_limit)
        self._heard: deque[tuple[float, Trace, Fact]] = deque()
        self._limit = settings.queue_limit
        self._missed = 0
        self._now_s = now_s

    def tap(self, fact: Fact) -> None:
        """Note a fact that ends a span, with the span at hand where it is told."""
        if type(fact) in SPANS:
            trace = TRACE.get()
            if trace is None or not trace.sent:
                return
            if isinstance(fact, HttpServed) and fact.route in PROBES:
                return
            if len(self._heard) < self._limit:
                self._heard.append((self._now_s(), trace, fact))
            else:
                self._missed += 1

    def take(self, batch: Sequence[Told]) -> None:
        """Write what was heard; the facts come by the tap, which knows their spans."""
        del batch
        while self._heard:
            at_s, trace, fact = self._heard.popleft()
            _, _, harmless = clean((at_s, "", fact))
            self.stream.put(_written(at_s, trace, harmless, self.traces.new_id))
        if self._missed:
            missed, self._missed = self._missed, 0
            self.stream.miss(missed)


def _head(service: str, environment: str) -> bytes:
    """The start of a request's body, up to the first span."""
    resource = _attributes(
        {
            "service.name": service,
            "service.version": isthmus.__version__,
            "deployment.environment.name": environment,
        }
    )
    scope = {"name": "isthmus", "version": isthmus.__version__}
    return (
        b'{"resourceSpans":[{"resource":{"attributes":%b},"scopeSpans":[{"scope":%b,"spans":['
        % (
            _ENCODER.encode(resource),
            _ENCODER.encode(scope),
        )
    )


def _written(at_s: float, trace: Trace, fact: Fact, new_id: Callable[[], str]) -> bytes:
    span = SPANS[type(fact)](fact)
    attributes = dict(span.attributes)
    if span.error:
        attributes["error.type"] = span.error
    fields: dict[str, object] = {
        "traceId": trace.trace_id,
        "spanId": trace.span_id if span.own else new_id(),
        "parentSpanId": trace.parent_id if span.own else trace.span_id,
        "traceState": trace.state,
        "name": _cut(span.name),
        "kind": span.kind,
        "startTimeUnixNano": str(int((at_s - span.duration_s) * 1e9)),
        "endTimeUnixNano": str(int(at_s * 1e9)),
        "attributes": _attributes(attributes),
        "status": {"code": _ERROR, "message": _cut(span.error)} if span.error else {},
    }
    return _ENCODER.encode({name: value for name, value in fields.items() if value != ""})


def _attributes(values: dict[str, Value | None]) -> list[dict[str, object]]:
    return [
        {"key": key, "value": _value(value)}
        for key, value in values.items()
        if value is not None and value != ""
    ]


def _value(value: Value) -> dict[str, object]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": _cut(value)}
        case _:
            return {"arrayValue": {"values": [{"stringValue": _cut(text)} for text in value]}}


def _cut(text: str) -> str:
    """As much as a span holds; half a character would not be JSON."""
    return text[:TEXT_LIMIT_CHARS].encode("utf-8", "replace").decode("utf-8")
