"""`/monitoring/*`: whether the process lives, and whether it should get requests."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.services import Services


def routes(services: Services) -> list[Endpoint]:
    """Liveness and readiness, open to anyone. Source: HTTP gateway contract, section 8.5."""

    async def ready(_: Request) -> Response:
        state = await services.readiness.state()
        bypasses = services.readiness.bypasses
        told = {**state, "bypasses": bypasses} if bypasses else state
        return JSONResponse(told, 200 if all(state.values()) else 503)

    return [
        Endpoint("GET", "/monitoring/healthz", _alive, "Tell that the process lives."),
        Endpoint("GET", "/monitoring/ready", ready, "Tell whether requests should come here."),
    ]


async def _alive(_: Request) -> Response:
    return JSONResponse({})
