"""One health question over gRPC. Loads grpc, which is an extra."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

import grpc
from grpc import aio
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from isthmus.adapters.outbound.trust import Papers

SERVICE: Final = "DuoWorkflow"
_Check: TypeAlias = Callable[..., Awaitable[HealthCheckResponse]]


@dataclass(frozen=True, slots=True)
class Door:
    """Where to ask; without `papers` in the clear, with them by TLS.

    `name` is the one that the certificate must bear, where it is not the target's.
    """

    target: str
    papers: Papers | None = None
    name: str = ""


async def ask(door: Door, limit_s: float) -> str:
    """`SERVING`, another state, or the status and reason of a call that failed."""
    options: list[tuple[str, str | int]] = [
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if door.name:
        options.append(("grpc.ssl_target_name_override", door.name))
    if door.papers is None:
        channel = aio.insecure_channel(door.target, options=options)
    else:
        secrets = grpc.ssl_channel_credentials(*door.papers)
        channel = aio.secure_channel(door.target, secrets, options=options)
    async with channel:
        try:
            check = cast(_Check, HealthStub(channel).Check)  # pyright: ignore[reportAttributeAccessIssue] - made by its constructor
            answer = await check(HealthCheckRequest(service=SERVICE), timeout=limit_s)
        except aio.AioRpcError as error:
            return f"{error.code().name}: {(error.details() or '')[:200]}"
    return HealthCheckResponse.ServingStatus.Name(answer.status)
