"""The connection to a platform: address, credentials, headers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import grpc
from grpc import aio

from isthmus.contract.contract_pb2 import Action, ClientEvent

Call: TypeAlias = "aio.StreamStreamCall[ClientEvent, Action]"

MESSAGE_LIMIT_BYTES = 4 * 1024 * 1024
_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


class BadAddress(ValueError):
    """An address is not one that this executor can call; the text says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """A platform's `host:port`, and whether the connection is encrypted."""

    target: str
    secure: bool
    local: bool


def address_of(url: str) -> Address:
    """Read `grpc://host:port` or, encrypted, `grpcs://host:port`. Raises BadAddress.

    Without encryption only this machine is called: the token would be read on the way.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"grpc", "grpcs"} or not parts.hostname or parts.path not in {"", "/"}:
        raise BadAddress("the address must look like grpc://127.0.0.1:50052 or grpcs://host:443")
    try:
        port = parts.port
    except ValueError as error:
        raise BadAddress("the address holds no valid port") from error
    if port is None or parts.username is not None or parts.query or parts.fragment:
        raise BadAddress("the address must be a host and a port, and nothing else")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    local = parts.hostname in _LOCAL
    if parts.scheme == "grpc" and not local:
        raise BadAddress("grpc:// is not encrypted and only for this machine; use grpcs://")
    return Address(f"{host}:{port}", parts.scheme == "grpcs", local)


@dataclass(frozen=True, slots=True)
class Access:
    """Where to call, and as whom. The token never shows."""

    address: Address
    headers: tuple[tuple[str, str], ...]
    token: str = field(repr=False, default="")

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Headers of a call."""
        if not self.token:
            return self.headers
        return (*self.headers, ("authorization", f"Bearer {self.token}"))


@asynccontextmanager
async def open_call(access: Access) -> AsyncIterator[Call]:
    """One `ExecuteWorkflow` stream on a connection of its own; leaving cancels what still runs.

    A new connection a stream: a lost server is then tried again at our pace, not at the library's.
    """
    options = [
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
        ("grpc.max_send_message_length", MESSAGE_LIMIT_BYTES),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
    ]
    address = access.address
    if address.secure:
        secrets = grpc.ssl_channel_credentials()
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
        call: Call = execute(metadata=access.metadata)
        try:
            yield call
        finally:
            call.cancel()
