"""SessionHost over gRPC, for a process that runs no sessions itself.

Source: instance contract, section 3.3; agent-platform contract, sections 4.8 and 11.5.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import grpc
from grpc import StatusCode, aio

from isthmus.contract.contract_pb2 import Action, ClientEvent
from isthmus.core import errors
from isthmus.core.beside import beside
from isthmus.core.errors import Failure
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.trace import TRACE
from isthmus.settings import PlatformSettings

Mint: TypeAlias = Callable[[Caller, ClientInfo], str]
"""A token for the platform; raises a Failure when there can be none."""
Papers: TypeAlias = tuple[bytes | None, bytes | None, bytes | None]
"""Authorities, our key, our certificate, PEM; None leaves gRPC its own."""
_OWN: Final[Papers] = (None, None, None)

STREAMS_A_CHANNEL: Final = 90
"""Servers commonly allow a hundred streams a connection; further ones would wait unseen."""
METHOD: Final = "/DuoWorkflow/ExecuteWorkflow"
NO_CREDIT: Final = "USAGE_QUOTA_EXCEEDED"
INTERRUPTED: Final = "workflow execution interrupted"
_RETRY: Final = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": "DuoWorkflow"}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)
"""A stream is tried again only as long as nothing has been answered."""
_VALUE: Final = re.compile(r"[\x20-\x7e]+")

FAILURE: Final[dict[StatusCode, Callable[[str], Failure]]] = {
    StatusCode.INVALID_ARGUMENT: errors.Invalid,
    StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    StatusCode.PERMISSION_DENIED: errors.Forbidden,
    StatusCode.NOT_FOUND: errors.NotFound,
    StatusCode.FAILED_PRECONDITION: errors.Conflict,
    StatusCode.UNIMPLEMENTED: errors.NotBuilt,
    StatusCode.UNAVAILABLE: errors.Unavailable,
    StatusCode.CANCELLED: errors.ClientGone,
}
"""What the platform's status means here; everything else is a failure of the far end."""


@dataclass(slots=True)
class _Channel:
    channel: aio.Channel
    streams: int = 0


class RemoteHost:
    """Sessions in another process; connections are shared, and opened as they are needed."""

    def __init__(self, settings: PlatformSettings, mint: Mint, papers: Papers = _OWN) -> None:
        self._settings = settings
        self._papers = papers
        self._mint = mint
        self._channels: list[_Channel] = []

    async def open(
        self, caller: Caller, client: ClientInfo, events: AsyncIterator[ClientEvent]
    ) -> AsyncGenerator[Action, None]:
        """One stream of a session: the client's events in, actions out."""
        metadata = _metadata(client, self._mint(caller, client))
        line = self._line()
        line.streams += 1
        try:
            execute: Any = line.channel.stream_stream(
                METHOD,
                request_serializer=ClientEvent.SerializeToString,
                response_deserializer=Action.FromString,
            )
            call: aio.StreamStreamCall[ClientEvent, Action] = execute(metadata=metadata)
            try:
                async with beside(_say(call, events)):
                    async for action in call:
                        yield action
            finally:
                call.cancel()
        except aio.AioRpcError as error:
            raise failure_of(error) from error
        finally:
            line.streams -= 1

    async def close(self) -> None:
        """Close every connection; streams that still run are cancelled."""
        channels, self._channels = self._channels, []
        for each in channels:
            await each.channel.close()

    def _line(self) -> _Channel:
        free = [each for each in self._channels if each.streams < STREAMS_A_CHANNEL]
        if not free:
            free = [_Channel(_channel(self._settings, self._papers, len(self._channels)))]
            self._channels += free
        return max(free, key=lambda each: each.streams)


@asynccontextmanager
async def open_remote(
    settings: PlatformSettings, mint: Mint, papers: Papers = _OWN
) -> AsyncIterator[RemoteHost]:
    """The host; leaving cancels what still runs."""
    host = RemoteHost(settings, mint, papers)
    try:
        yield host
    finally:
        await host.close()


def failure_of(error: aio.AioRpcError) -> Failure:
    """A status of the platform as our failure."""
    code, detail = error.code(), error.details() or ""
    if code is StatusCode.RESOURCE_EXHAUSTED:
        if NO_CREDIT in detail:
            return errors.InsufficientCredits(detail)
        return errors.LimitExceeded(detail or "The platform's limit was reached.", 5.0)
    if code is StatusCode.UNAVAILABLE and detail.startswith(INTERRUPTED):
        return errors.Interrupted(detail)
    return FAILURE.get(code, errors.UpstreamFailed)(detail or code.name)


async def _say(
    call: "aio.StreamStreamCall[ClientEvent, Action]", events: AsyncIterator[ClientEvent]
) -> None:
    """Send the client's events. A stream that has ended says why to whoever reads it."""
    try:
        async for event in events:
            await call.write(event)
        await call.done_writing()
    except (aio.AioRpcError, asyncio.InvalidStateError):
        return


def _metadata(client: ClientInfo, token: str) -> tuple[tuple[str, str], ...]:
    """The client's headers, those that gRPC can carry, and our credentials."""
    carried = [
        (name, value)
        for name, value in client.headers.items()
        if name not in {"authorization", "user-agent", "traceparent"} and _VALUE.fullmatch(value)
    ]
    trace = TRACE.get()
    told = trace.headers() if trace is not None else ()
    return (*carried, *told, ("authorization", f"Bearer {token}"))


def _channel(settings: PlatformSettings, papers: Papers, number: int) -> aio.Channel:
    options: list[tuple[str, object]] = [
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.max_receive_message_length", settings.message_limit_bytes),
        ("grpc.max_send_message_length", settings.message_limit_bytes),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.service_config", _RETRY),
        ("grpc.primary_user_agent", "isthmus gitlab-workhorse"),
        # Channels of one address share connections unless something tells them apart.
        ("grpc.use_local_subchannel_pool", 1),
        ("isthmus.channel", number),
    ]
    target = settings.url.partition("://")[2] or settings.url
    if settings.secure:
        return aio.secure_channel(target, grpc.ssl_channel_credentials(*papers), options=options)
    return aio.insecure_channel(target, options=options)
