"""What a log says of each fact: level, logger, message and fields; pure.

Field names: HTTP gateway contract, section 10.3 (logger `api.access`); agent platform contract,
section 10.2.
"""

import logging
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, get_args

from msgspec.structs import asdict

from isthmus.core.events import (
    BreakerMoved,
    ConfigurationRead,
    Crashed,
    Fact,
    FeatureUsed,
    HttpServed,
    KeysRefreshed,
    LimitMet,
    LimitStoreLost,
    ModelCalled,
    Noted,
    PayloadSeen,
    QuotaAsked,
    RelayClosed,
    ResultScanned,
    RpcServed,
    SecretFound,
    SessionEnded,
    SessionStarted,
    Started,
    Stopping,
    ToolCalled,
    TryFailed,
)
from isthmus.core.session_facts import SessionAsked, SessionRejected


class Reading(NamedTuple):
    """A log record. `message_key` is the name under which the message stands."""

    level: int
    logger: str
    message: str
    fields: dict[str, object]
    message_key: str = "message"


Reader = Callable[[Any], Reading | None]
"""Reads a fact of one kind; None is a fact that is not worth a line."""


def readers(level: int, *, access: bool) -> dict[type[Fact], Reader]:
    """How to read each kind of fact that is wanted; what it reads may still be below `level`.

    Frequent facts are for metrics: only who debugs wants a line for each of them.
    """
    chosen: dict[type[Fact], Reader] = dict(_READERS)
    if level > logging.DEBUG:
        # What every request tells is not read for a line that is not wanted.
        del chosen[FeatureUsed]
    else:
        chosen = {kind: _READERS.get(kind, _any) for kind in get_args(Fact)}
        chosen[ModelCalled] = _any_model
    if not access:
        del chosen[HttpServed]
    return chosen


def stamp(at_s: float) -> str:
    """ISO 8601 in UTC, to the microsecond; `at_s` counts from the epoch."""
    second = int(at_s)
    # Half the time of a format with leading zeros.
    micros = str(1_000_000 + int((at_s - second) * 1_000_000))[1:]
    return f"{_second(second)}.{micros}Z"


@lru_cache(maxsize=16)
def _second(second: int) -> str:
    """Text of a whole second; lines of the same second share it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _http(fact: HttpServed) -> Reading:
    ip, port = _address(fact.client)
    stated = fact.status or 500
    values: dict[str, object] = {
        "url": fact.path,
        "path": fact.path,
        "method": fact.method,
        "http_version": fact.http_version,
        "client_ip": ip,
        "client_port": port,
        "user_agent": fact.user_agent,
        "correlation_id": fact.request_id,
        "request_arrived_at": stamp(fact.arrived_at_s),
        "status_code": stated,
        "content_type": fact.content_type or "unknown",
        "duration_s": fact.duration_s,
        "response_start_duration_s": fact.response_start_s,
        "first_chunk_duration_s": fact.first_chunk_s,
        "cpu_s": fact.cpu_s,
        "duration_request": -1,
    }
    if fact.aborted:
        values["client_gone"] = True
    values.update(fact.bound)
    values.update(fact.fields)
    message = f'{fact.client} - "{fact.method} {fact.path} HTTP/{fact.http_version}" {stated}'
    return Reading(logging.INFO, "api.access", message, values)


@lru_cache(maxsize=1024)
def _address(client: str) -> tuple[str, int | None]:
    """Host and port of a peer; connections that stay open tell the same one again."""
    ip, _, port = client.rpartition(":")
    number = int(port) if ip and port.isascii() and port.isdigit() else None
    return (ip or client).strip("[]"), number


def _rpc(fact: RpcServed) -> Reading:
    service, _, method = fact.method.strip("/").rpartition("/")
    if fact.unstarted:
        told = {"correlation_id": fact.request_id, "reason": fact.unstarted, **dict(fact.fields)}
        return Reading(logging.INFO, "grpc.access", f"{method} closed before start", told, "event")
    values: dict[str, object] = {
        "correlation_id": fact.request_id,
        "grpc_type": fact.kind,
        "grpc_service_name": service,
        "grpc_method_name": method,
        "grpc_status": fact.code,
        "duration_s": fact.duration_s,
        "cpu_s": fact.cpu_s,
        "servicer_context_code": fact.code,
        "servicer_context_details": fact.details,
        "user_agent": fact.user_agent,
    }
    values.update(fact.fields)
    return Reading(logging.INFO, "grpc.access", f"Finished {method} RPC", values, "event")


def _noted(fact: Noted) -> Reading:
    values: dict[str, object] = dict(fact.details)
    logger = str(values.pop("logger", "isthmus"))
    level = _LEVELS.get(fact.level, logging.WARNING)
    return Reading(level, logger, fact.event, values)


def _crashed(fact: Crashed) -> Reading:
    kind, _, text = fact.error.partition(": ")
    values: dict[str, object] = {
        "where": fact.where,
        "exception_class": kind,
        "exception_message": text,
        "exception_backtrace": fact.trace,
    }
    return Reading(logging.ERROR, "isthmus", f"Crashed: {fact.error}", values)


def _started(fact: Started) -> Reading:
    text = f"Listening: {fact.transport} on {fact.address}"
    return Reading(logging.INFO, "isthmus", text, {"after_s": fact.after_s})


def _stopping(fact: Stopping) -> Reading:
    return Reading(logging.INFO, "isthmus", "Stopping", {"reason": fact.reason})


def _model(fact: ModelCalled) -> Reading | None:
    if fact.error == "none":
        return None
    return Reading(logging.WARNING, "models", "Model call failed", _values(fact))


def _any_model(fact: ModelCalled) -> Reading:
    return _model(fact) or _any(fact)


def _try(fact: TryFailed) -> Reading:
    return Reading(logging.WARNING, "models", "A try failed", _values(fact))


def _breaker(fact: BreakerMoved) -> Reading:
    """A key that is refused is for somebody to look at; the rest mends itself."""
    level = {"dead": logging.ERROR, "open": logging.WARNING}.get(fact.state, logging.INFO)
    return Reading(level, "models", f"A deployment's breaker is {fact.state}", _values(fact))


def _limit(fact: LimitMet) -> Reading:
    level = logging.DEBUG if fact.mode == "shadow" else logging.INFO
    return Reading(level, "limits", "A limit was met", _values(fact))


def _limit_store(fact: LimitStoreLost) -> Reading:
    if fact.lost:
        text = "The shared counters are lost: the local share holds"
        return Reading(logging.ERROR, "limits", text, {"error": fact.error})
    return Reading(logging.INFO, "limits", "The shared counters are back", {})


def _secret(fact: SecretFound) -> Reading:
    return Reading(logging.INFO, "redaction", "Secrets were found", _values(fact))


def _scan(fact: ResultScanned) -> Reading:
    level = logging.DEBUG if fact.outcome == "clean" else logging.WARNING
    text = "A tool's result was searched for orders to a model"
    return Reading(level, "scan", text, _values(fact))


def _configuration(fact: ConfigurationRead) -> Reading:
    """Which settings changed; what they are now is nobody's business here."""
    if not fact.taken:
        text = "the configuration was refused"
        return Reading(logging.ERROR, "isthmus", text, {"reason": fact.reason})
    values: dict[str, object] = dict(fact.changed)
    if fact.reason:
        values["reason"] = fact.reason
    return Reading(logging.INFO, "isthmus", "the configuration was read", values)


def _feature(fact: FeatureUsed) -> Reading:
    # Who called stands on other lines; headers and claims are not for a log.
    values: dict[str, object] = {"unit_primitive": fact.unit_primitive, "billed": fact.billed}
    return Reading(logging.DEBUG, "isthmus", "FeatureUsed", values)


def _quota(fact: QuotaAsked) -> Reading:
    level = logging.WARNING if fact.result == "error" else logging.DEBUG
    return Reading(level, "quota", f"Credits: {fact.result}", _values(fact))


def _payload(fact: PayloadSeen) -> Reading:
    return Reading(logging.INFO, "payloads", fact.event, dict(fact.payload))


def _keys(fact: KeysRefreshed) -> Reading:
    level = logging.WARNING if fact.error else logging.INFO
    text = "Keys could not be refreshed" if fact.error else "Keys refreshed"
    return Reading(level, "auth", text, _values(fact))


def _ended(fact: SessionEnded) -> Reading:
    level = logging.WARNING if fact.outcome == "failed" else logging.INFO
    return Reading(level, "sessions", "Session ended", _values(fact), "event")


def _closed(fact: RelayClosed) -> Reading:
    return Reading(logging.INFO, "sessions", "Socket closed", _values(fact), "event")


def _asked(fact: SessionAsked) -> Reading:
    values: dict[str, object] = {
        "workflow_id": fact.workflow_id,
        "workflow_definition": fact.definition,
        **{name: value for name, value in fact.client if value},
        **dict(fact.about),
    }
    return Reading(logging.INFO, "sessions", "Start request received", values, "event")


def _rejected(fact: SessionRejected) -> Reading:
    return Reading(logging.INFO, "sessions", "Session rejected", _values(fact), "event")


def _begun(fact: SessionStarted) -> Reading:
    return Reading(logging.INFO, "sessions", "Session started", _values(fact), "event")


def _tool(fact: ToolCalled) -> Reading:
    level = logging.WARNING if fact.failure else logging.DEBUG
    return Reading(level, "sessions", "Tool called", _values(fact), "event")


def _any(fact: Fact) -> Reading:
    return Reading(logging.DEBUG, "isthmus", type(fact).__name__, _values(fact))


def _values(fact: Fact) -> dict[str, object]:
    values = asdict(fact)
    if "definition" in values:
        values["workflow_definition"] = values.pop("definition")
    return values


_LEVELS = {
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
_READERS: dict[type[Fact], Reader] = {
    HttpServed: _http,
    RpcServed: _rpc,
    Noted: _noted,
    Crashed: _crashed,
    Started: _started,
    Stopping: _stopping,
    ModelCalled: _model,
    TryFailed: _try,
    BreakerMoved: _breaker,
    LimitMet: _limit,
    LimitStoreLost: _limit_store,
    SecretFound: _secret,
    ResultScanned: _scan,
    ConfigurationRead: _configuration,
    FeatureUsed: _feature,
    QuotaAsked: _quota,
    PayloadSeen: _payload,
    KeysRefreshed: _keys,
    SessionAsked: _asked,
    SessionRejected: _rejected,
    SessionStarted: _begun,
    RelayClosed: _closed,
    SessionEnded: _ended,
    ToolCalled: _tool,
}
