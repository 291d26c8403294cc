"""The standard health service, answering from one switch: does this listener take sessions?

The library's own servicer changes state by a coroutine; a drain must not have to wait for one.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, TypeAlias

from grpc import StatusCode, aio
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

Context: TypeAlias = "aio.ServicerContext[Any, Any]"


class Health:
    """Serves `grpc.health.v1.Health` for the given service names."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = frozenset(services)
        self._status = HealthCheckResponse.NOT_SERVING
        self._changed = asyncio.Event()

    def set_serving(self, serving: bool) -> None:
        """Turn the answer; watchers are told."""
        known = HealthCheckResponse
        self._status = known.SERVING if serving else known.NOT_SERVING
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(  # noqa: N802 - the protocol's name
        self, request: HealthCheckRequest, context: Context
    ) -> HealthCheckResponse:
        """The state of one service; NOT_FOUND for a name that is not served here."""
        if request.service not in self._services:
            await context.abort(StatusCode.NOT_FOUND, "No such service.")
        return HealthCheckResponse(status=self._status)

    async def Watch(  # noqa: N802 - the protocol's name
        self, request: HealthCheckRequest, context: Context
    ) -> None:
        """The state of one service, and each change of it until the caller leaves."""
        if request.service not in self._services:
            unknown = HealthCheckResponse.SERVICE_UNKNOWN
            await context.write(HealthCheckResponse(status=unknown))
            await asyncio.Event().wait()
        while True:
            changed = self._changed
            await context.write(HealthCheckResponse(status=self._status))
            await changed.wait()

    async def List(self, request: object, context: Context) -> None:  # noqa: N802
        """Not served: `Check` answers for every name there is."""
        del request
        await context.abort(StatusCode.UNIMPLEMENTED, "Ask for one service by Check.")
