"""What happens around every RPC: a correlation id, failures turned into statuses, one fact."""

import asyncio
import inspect
import re
import time
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, TypeAlias, cast

import grpc
from grpc import StatusCode, aio

from isthmus.core.errors import Failure
from isthmus.core.events import REQUEST_ID, Crashed, RpcServed
from isthmus.core.ports import Telemetry
from isthmus.core.trace import TRACE, Traces
from isthmus.edge.grpc.errors import CANCELLED_BY_CLIENT, status_of, status_of_bug
from isthmus.edge.grpc.story import Story, Watched

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
Context: TypeAlias = "aio.ServicerContext[Any, Any]"
Continuation: TypeAlias = Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]
Behaviour: TypeAlias = Callable[[Any, Context], Any]

_SERVICE = "/DuoWorkflow/"
_SAFE_ID = re.compile(r"[\x21-\x7e]{1,128}")


class Correlation(aio.ServerInterceptor):
    """Binds the correlation id: `x-request-id`, else `x-gitlab-correlation-id`, else new.

    And the RPC's span, where `traces` begins some.
    """

    def __init__(self, traces: Traces | None = None) -> None:
        self._traces = traces

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        """Bind the id for the RPC's task, then go on."""
        headers = headers_of(handler_call_details)
        REQUEST_ID.set(correlation_id(headers))
        if self._traces is not None:
            parent, state = headers.get("traceparent", ""), headers.get("tracestate", "")
            TRACE.set(self._traces.begin(parent, state))
        return await continuation(handler_call_details)


class Outcome(aio.ServerInterceptor):
    """Ends an RPC with the status that its failure has, and tells one RpcServed of it.

    Health and reflection are left alone.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        """Wrap the handler of a method of the session contract."""
        handler = await continuation(handler_call_details)
        method = _text(handler_call_details.method)
        if handler is None or not method.startswith(_SERVICE):
            return handler
        headers = headers_of(handler_call_details)
        streams = handler.request_streaming, handler.response_streaming
        behaviour, rebuild = _taken_apart(handler)
        served = _Served(self._telemetry, method, _KIND[streams], headers)

        async def observed(request: Any, context: Context) -> Any:
            return await served.run(behaviour, request, context)

        return rebuild(
            observed,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


class _Served:
    """One RPC, from its first byte to its fact."""

    def __init__(
        self, telemetry: Telemetry, method: str, kind: str, headers: Mapping[str, str]
    ) -> None:
        self._telemetry = telemetry
        self._method = method
        self._kind = kind
        self._user_agent = headers.get("user-agent", "")
        self._story = Story(headers)
        self._since_s, self._cpu_s = time.monotonic(), time.thread_time()

    async def run(self, behaviour: Behaviour, request: Any, context: Context) -> Any:
        """Run the handler. Failures end the RPC by the table; everything else is a bug."""
        try:
            reply = await _called(
                behaviour, request, cast("Context", Watched(context, self._story))
            )
        except Failure as failure:
            self._story.failed(failure)
            await self._abort(context, *status_of(failure))
        except aio.AbortError:
            self._tell(_code_of(context), _text(context.details()))
            raise
        except asyncio.CancelledError:
            self._tell(StatusCode.CANCELLED, CANCELLED_BY_CLIENT)
            raise
        except Exception as bug:  # noqa: BLE001 - the edge: a bug ends one RPC, not the server
            self._telemetry.emit(
                Crashed(self._method, type(bug).__name__, "".join(traceback.format_exception(bug)))
            )
            self._story.failed(bug)
            await self._abort(context, *status_of_bug(bug))
        else:
            self._tell(_code_of(context), _text(context.details()))
            return reply

    async def _abort(self, context: Context, code: StatusCode, details: str) -> None:
        self._tell(code, details)
        await context.abort(code, details)

    def _tell(self, code: StatusCode, details: str) -> None:
        self._telemetry.emit(
            RpcServed(
                method=self._method,
                kind=self._kind,
                code=code.name,
                details=details,
                duration_s=time.monotonic() - self._since_s,
                user_agent=self._user_agent,
                request_id=REQUEST_ID.get(),
                fields=tuple(self._story.fields.items()),
                cpu_s=time.thread_time() - self._cpu_s,
                unstarted=self._story.unstarted if code is StatusCode.OK else "",
            )
        )


async def _called(behaviour: Behaviour, request: Any, context: Context) -> Any:
    """Call a handler, whether it writes, returns or yields its replies."""
    result = behaviour(request, context)
    if not inspect.isasyncgen(result):
        return await result
    replies: AsyncIterator[Any]
    async with aclosing(result) as replies:
        async for reply in replies:
            await context.write(reply)
    return None


_KIND = {
    (False, False): "UNARY",
    (False, True): "SERVER_STREAMING",
    (True, False): "CLIENT_STREAMING",
    (True, True): "BIDI_STREAMING",
}


def _taken_apart(handler: Any) -> tuple[Behaviour, Callable[..., Handler]]:
    match handler.request_streaming, handler.response_streaming:
        case False, False:
            return handler.unary_unary, grpc.unary_unary_rpc_method_handler
        case False, True:
            return handler.unary_stream, grpc.unary_stream_rpc_method_handler
        case True, False:
            return handler.stream_unary, grpc.stream_unary_rpc_method_handler
        case _:
            return handler.stream_stream, grpc.stream_stream_rpc_method_handler


def correlation_id(headers: Mapping[str, str]) -> str:
    """The caller's own id when it is printable and short, else a new one."""
    for name in ("x-request-id", "x-gitlab-correlation-id"):
        value = headers.get(name, "")
        if _SAFE_ID.fullmatch(value):
            return value
    return str(uuid.uuid4())


def headers_of(details: grpc.HandlerCallDetails) -> dict[str, str]:
    """Text headers by name; of one that is repeated, the first."""
    headers: dict[str, str] = {}
    for name, value in details.invocation_metadata or ():
        if isinstance(value, str):
            headers.setdefault(name, value)
    return headers


def _code_of(context: Context) -> StatusCode:
    code = cast("object", context.code())  # typed as a status, in fact also a number
    if isinstance(code, StatusCode):
        return code
    return next((known for known in StatusCode if known.value[0] == code), StatusCode.OK)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""
