"""Facts as spans: what each of them stood for, from its end backwards; pure.

Source: OpenTelemetry semantic conventions, "Generative AI spans", "HTTP spans", "RPC server spans".
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from isthmus.core.events import (
    Fact,
    HttpServed,
    ModelCalled,
    RelayClosed,
    RpcServed,
    SessionEnded,
    ToolCalled,
)
from isthmus.core.session_facts import ActionAnswered

INTERNAL: Final = 1
SERVER: Final = 2
CLIENT: Final = 3
PROVIDERS: Final = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "mistral": "mistral_ai",
    "vertex": "gcp.vertex_ai",
}
"""Our name of a provider -> the conventions', where it is another one."""
GRPC: Final = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
    *("ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"),
    *("ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    "UNAUTHENTICATED",
)
"""Status names, by their numbers."""

Value: TypeAlias = str | int | float | bool | tuple[str, ...]


class Span(NamedTuple):
    """`own`: the fact ends the span that was at hand, and not one inside of it.

    `error` is the class of what went wrong, "" when nothing did; "" and None are no attributes.
    """

    name: str
    kind: int
    duration_s: float
    attributes: Mapping[str, Value | None]
    error: str = ""
    own: bool = False


def _http(fact: HttpServed) -> Span:
    status = fact.status or 500
    return Span(
        f"{fact.method} {fact.route}" if fact.route else fact.method,
        SERVER,
        fact.duration_s,
        {
            "http.request.method": fact.method,
            "http.route": fact.route,
            "url.path": fact.path.partition("?")[0],
            "http.response.status_code": status,
            "network.protocol.version": fact.http_version,
            "user_agent.original": fact.user_agent,
            "client.address": fact.client.rpartition(":")[0],
            "isthmus.request_id": fact.request_id,
            "isthmus.own_s": fact.own_s,
            "isthmus.aborted": fact.aborted or None,
        },
        str(status) if status >= 500 else "",
        own=True,
    )


def _rpc(fact: RpcServed) -> Span:
    service, _, method = fact.method.strip("/").rpartition("/")
    ours = fact.code in ("UNKNOWN", "INTERNAL", "UNAVAILABLE", "UNIMPLEMENTED", "DATA_LOSS")
    return Span(
        f"{service}/{method}",
        SERVER,
        fact.duration_s,
        {
            "rpc.system": "grpc",
            "rpc.service": service,
            "rpc.method": method,
            "rpc.grpc.status_code": GRPC.index(fact.code) if fact.code in GRPC else 2,
            "user_agent.original": fact.user_agent,
            "isthmus.request_id": fact.request_id,
        },
        fact.code if ours else "",
        own=True,
    )


def _relay(fact: RelayClosed) -> Span:
    attributes: dict[str, Value | None] = {
        "gen_ai.conversation.id": fact.workflow_id,
        "isthmus.close_code": fact.code,
        "isthmus.status": fact.status,
    }
    return Span("websocket", SERVER, fact.duration_s, attributes, fact.error, own=True)


def _session(fact: SessionEnded) -> Span:
    return Span(
        f"invoke_agent {fact.definition}".strip(),
        INTERNAL,
        fact.duration_s,
        {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": fact.definition,
            "gen_ai.conversation.id": fact.workflow_id,
            "isthmus.outcome": fact.outcome,
            "isthmus.reason": fact.reason,
            "isthmus.steps": fact.steps,
        },
        (fact.reason or "failed") if fact.outcome == "failed" else "",
        own=True,
    )


def _model(fact: ModelCalled) -> Span:
    usage = fact.usage
    tokens: dict[str, Value | None] = {}
    if usage is not None:
        tokens = {
            "gen_ai.usage.input_tokens": usage.input_tokens,
            "gen_ai.usage.output_tokens": usage.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens or None,
            "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens or None,
            "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens or None,
        }
    return Span(
        f"{fact.operation} {fact.model}",
        CLIENT,
        fact.duration_s,
        {
            "gen_ai.operation.name": fact.operation,
            "gen_ai.provider.name": PROVIDERS.get(fact.provider, fact.provider),
            "gen_ai.request.model": fact.model,
            "gen_ai.request.stream": fact.streaming or None,
            "gen_ai.response.finish_reasons": (fact.finish,) if fact.finish else None,
            "gen_ai.response.time_to_first_chunk": fact.first_byte_s or None,
            **tokens,
            "isthmus.call_id": fact.call_id,
            "isthmus.cost_usd": None if fact.cost is None else fact.cost / 1e6,
            "isthmus.deployment": fact.deployment,
            "isthmus.feature": fact.feature,
            "isthmus.queued_s": fact.queued_s or None,
            "isthmus.tries": fact.tries,
            "isthmus.warmth": fact.warmth,
        },
        "" if fact.error == "none" else fact.error,
    )


def _tool(fact: ToolCalled) -> Span:
    attributes: dict[str, Value | None] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": fact.tool,
        "gen_ai.tool.type": "function",
        "gen_ai.conversation.id": fact.workflow_id,
    }
    name = f"execute_tool {fact.tool}"
    return Span(name, INTERNAL, fact.duration_s, attributes, fact.failure)


def _action(fact: ActionAnswered) -> Span:
    attributes: dict[str, Value | None] = {
        "gen_ai.conversation.id": fact.workflow_id,
        "isthmus.action": fact.action,
        "http.request.method": fact.method,
        "http.response.status_code": fact.status or None,
        "url.template": fact.endpoint,
    }
    error = str(fact.status) if fact.status >= 500 else ""
    return Span(f"client {fact.action}", CLIENT, fact.duration_s, attributes, error)


SPANS: Final[Mapping[type[Fact], Callable[[Any], Span]]] = {
    HttpServed: _http,
    RpcServed: _rpc,
    RelayClosed: _relay,
    SessionEnded: _session,
    ModelCalled: _model,
    ToolCalled: _tool,
    ActionAnswered: _action,
}
"""How to read each kind of fact that ends a span."""
