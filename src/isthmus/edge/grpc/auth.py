"""Closed by default: every RPC has a caller, except health and, where it is on, reflection.

Source: agent-platform contract, sections 2.1, 3.1 and 3.2.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc
import grpc.aio

from isthmus.auth.authenticate import Authenticator
from isthmus.core.errors import Unauthenticated, Unavailable
from isthmus.core.identity import Caller, ClientInfo

HEALTH = "/grpc.health.v1.Health"
REFLECTION = (
    "/grpc.reflection.v1.ServerReflection",
    "/grpc.reflection.v1alpha.ServerReflection",
)

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]"
Behaviour: TypeAlias = Callable[[Any, Any], Any]

_CLIENT_NAMES = frozenset({"x-request-id", "user-agent", "bypass-auth"})


class Authentication(grpc.aio.ServerInterceptor):
    """Interceptor that finds the caller of each RPC before its handler runs.

    The servicer is given a context that knows them: `caller_of(context)`, `client_of(context)`.
    Refusals have the method's own arity; a method that does not exist is refused like any other.
    """

    def __init__(self, authenticator: Authenticator, *, reflection: bool = False) -> None:
        self._authenticator = authenticator
        self._open = frozenset({HEALTH, *(REFLECTION if reflection else ())})

    async def intercept_service(
        self,
        continuation: Continuation,
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        handler = await continuation(handler_call_details)
        if handler_call_details.method.rpartition("/")[0] in self._open:
            return handler
        headers = headers_of(handler_call_details.invocation_metadata)
        try:
            caller = await self._authenticator.caller(headers)
        except Unauthenticated as failure:
            return _refusing(handler, grpc.StatusCode.UNAUTHENTICATED, failure.detail)
        except Unavailable as failure:
            return _refusing(handler, grpc.StatusCode.UNAVAILABLE, failure.detail)
        if handler is None:
            return None
        headers.pop("authorization", None)
        return _known(handler, caller, ClientInfo(headers))


class KnownContext:
    """A servicer's context together with who calls; everything else is the context's own."""

    __slots__ = ("_context", "caller", "client")

    def __init__(self, context: object, caller: Caller, client: ClientInfo) -> None:
        self._context = context
        self.caller = caller
        self.client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def caller_of(context: object) -> Caller:
    """Who makes this RPC; `context` is what the servicer was given."""
    return _checked(context).caller


def client_of(context: object) -> ClientInfo:
    """What the client of this RPC says of itself."""
    return _checked(context).client


def headers_of(metadata: Iterable[tuple[str, str | bytes]] | None) -> dict[str, str]:
    """Metadata that authentication or ClientInfo reads, of repeated keys the first."""
    found: dict[str, str] = {}
    for name, value in metadata or ():
        wanted = name.startswith("x-gitlab-") or name == "authorization" or name in _CLIENT_NAMES
        if wanted and isinstance(value, str):
            found.setdefault(name, value)
    return found


def _checked(context: object) -> KnownContext:
    if not isinstance(context, KnownContext):
        raise TypeError("this RPC did not pass the authentication interceptor")
    return context


def _known(handler: Handler, caller: Caller, client: ClientInfo) -> Handler:
    """The same handler, run with a context that knows the caller."""
    inner = _behaviour(handler)

    async def stream(request: object, context: object) -> AsyncIterator[object]:
        async with aclosing(inner(request, KnownContext(context, caller, client))) as messages:
            async for message in messages:
                yield message

    async def answer(request: object, context: object) -> object:
        return await inner(request, KnownContext(context, caller, client))

    # grpc.aio tells generators from coroutines by looking at the function itself.
    return _maker(handler)(
        stream if inspect.isasyncgenfunction(inner) else answer,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )


def _refusing(handler: "Handler | None", code: grpc.StatusCode, detail: str) -> Handler:
    """A handler of the same arity that ends the RPC and decodes nothing that a stranger sent."""

    async def refuse(_: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await context.abort(code, detail)

    if handler is None:
        return grpc.stream_stream_rpc_method_handler(refuse)
    return _maker(handler)(refuse)


def _behaviour(handler: Handler) -> Behaviour:
    """The one of a handler's four functions that is set. They must be asynchronous."""
    found = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )
    if not (inspect.isasyncgenfunction(found) or inspect.iscoroutinefunction(found)):
        raise TypeError("a method of the servicer is not asynchronous")
    return found


def _maker(handler: Handler) -> Callable[..., Handler]:
    return {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]
