"""The connection to a platform over gRPC: one stream a connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
from grpc import StatusCode, aio

from isthmus.contract.contract_pb2 import Action, ClientEvent
from isthmus.executor.address import Address
from isthmus.executor.trust import OWN, Trust
from isthmus.executor.wire import MESSAGE_LIMIT_BYTES, Ending, StreamEnd, Wire

Call: TypeAlias = "aio.StreamStreamCall[ClientEvent, Action]"

_AWAY = frozenset({StatusCode.UNAVAILABLE, StatusCode.CANCELLED})
_CROSSED = "Internal error from Core"
"""The library's own word for a stream that ended while it sent: the server's word is lost, and a
server that stops says UNAVAILABLE."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where to call, and as whom. Secrets never show; `secret_headers` hold more of them."""

    address: Address
    headers: tuple[tuple[str, str], ...]
    token: str = field(repr=False, default="")
    secret_headers: tuple[tuple[str, str], ...] = field(repr=False, default=())
    trust: Trust = OWN

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Headers of a call."""
        headers = (*self.headers, *self.secret_headers)
        if not self.token:
            return headers
        return (*headers, ("authorization", f"Bearer {self.token}"))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Wire]:
        """One `ExecuteWorkflow` stream; leaving cancels what still runs.

        A new connection a stream: a lost server is then tried again at our pace, not at the
        library's.
        """
        options = [
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
            ("grpc.max_send_message_length", MESSAGE_LIMIT_BYTES),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_retries", 0),
        ]
        address = self.address
        if address.secure:
            secrets = grpc.ssl_channel_credentials(*self.trust.papers)
            channel = aio.secure_channel(address.target, secrets, options=options)
        else:
            # A proxy has no business between two processes of one machine.
            channel = aio.insecure_channel(
                address.target, options=[*options, ("grpc.enable_http_proxy", 0)]
            )
        async with channel:
            execute: Any = channel.stream_stream(
                "/DuoWorkflow/ExecuteWorkflow",
                request_serializer=ClientEvent.SerializeToString,
                response_deserializer=Action.FromString,
            )
            call: Call = execute(metadata=self.metadata)
            try:
                yield _GrpcWire(call)
            finally:
                call.cancel()


class _GrpcWire:
    def __init__(self, call: Call) -> None:
        self._call = call

    async def send(self, event: ClientEvent) -> bool:
        try:
            await self._call.write(event)
        except (aio.AioRpcError, asyncio.InvalidStateError):
            return False
        return True

    async def receive(self) -> Action | None:
        try:
            action = await self._call.read()
        except aio.AioRpcError:
            return None
        return action if isinstance(action, Action) else None

    async def end(self) -> StreamEnd:
        code = await self._call.code()
        if code is StatusCode.OK:
            return StreamEnd(Ending.OVER, "")
        details = await self._call.details() or ""
        return StreamEnd(ending_of(code, details), f"{code.name}: {details}")


def ending_of(code: StatusCode, details: str) -> Ending:
    """What the end of a stream that did not end well means."""
    lost = code is StatusCode.INTERNAL and details == _CROSSED
    return Ending.AWAY if lost or code in _AWAY else Ending.REFUSED
