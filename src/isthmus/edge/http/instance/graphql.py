"""Wire of `POST /api/graphql`. What runs it is loaded by the first request.

Source: instance contract, section 4.
"""

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from isthmus.core.errors import Invalid, Unavailable
from isthmus.core.events import Crashed
from isthmus.edge.graphql.inquiry import Inquiry, Operation
from isthmus.edge.http.body import decoder, read
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.errors import trace
from isthmus.edge.http.instance._answer import address, answer
from isthmus.edge.http.membership import instance_of, member_of
from isthmus.edge.services import Services
from isthmus.settings import InstanceSettings

if TYPE_CHECKING:
    from isthmus.edge.graphql.engine import Engine


class OperationBody(msgspec.Struct, frozen=True, rename="camel"):
    """One operation; batches are not served."""

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = None


_decode = decoder(OperationBody)


class _Door:
    """The engine of one server, made when it is first asked for."""

    def __init__(self, settings: InstanceSettings) -> None:
        self._settings = settings
        self._engine: Engine | None = None
        self._turn = asyncio.Lock()

    async def engine(self) -> "Engine":
        async with self._turn:
            if self._engine is None:
                self._engine = await asyncio.to_thread(_load, self._settings)
            return self._engine


def _load(settings: InstanceSettings) -> "Engine":
    # Its library is no part of the base install, and servers that nobody asks start without it.
    try:
        from isthmus.edge.graphql.engine import Engine  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise Unavailable("GraphQL needs the extra isthmus[instance].") from error
    return Engine(settings)


def routes(services: Services) -> list[Endpoint]:
    """The one route of this module."""
    door = _Door(services.instance_settings)

    async def serve(request: Request) -> Response:
        try:
            body = _decode(await read(request))
        except Invalid:
            message = "The body must be one JSON object with a `query`."
            return answer({"errors": [{"message": message}]}, 400)
        instance = instance_of(request)
        origin = address(request, instance.settings.external_url)
        operation = Operation(body.query, body.variables or {}, body.operation_name)
        inquiry = Inquiry(instance, member_of(request), origin)
        answered = await (await door.engine()).answer(operation, inquiry)
        for bug in answered.bugs:
            crashed = Crashed("POST /api/graphql", type(bug).__name__, trace(bug))
            instance.telemetry.emit(crashed)
        return answer(answered.body)

    return [
        Endpoint(
            method="POST",
            path="/api/graphql",
            handle=serve,
            summary="Run one GraphQL operation.",
            body=OperationBody,
            scopes="`api`; `read_api`, `ai_workflows` or `ai_features` for what each may read",
            refusals=(400,),
        )
    ]
