"""`POST /api/v4/isthmus/suggestions/{id}/{verdict}`: the same as `/v1/suggestions`, for members."""

from starlette.responses import Response

from isthmus.core.errors import NotFound
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.instance._entry import Route, Visit, endpoints
from isthmus.edge.services import Services
from isthmus.gateway.judge import VERDICTS, Judge
from isthmus.instance.broker import caller_of

PATH = "/api/v4/isthmus/suggestions/{id}/{verdict}"


def routes(services: Services) -> list[Endpoint]:
    """The one route of this module. Its body is never read."""
    judge = Judge(services.telemetry)

    async def take(visit: Visit) -> Response:
        verdict = visit.request.path_params["verdict"]
        if verdict not in VERDICTS:
            raise NotFound("404 Not Found")
        caller = caller_of(visit.member, visit.instance.broker.identity)
        judge.count(visit.request.path_params["id"], verdict, caller)
        return Response(status_code=204)

    return endpoints(
        [
            Route(
                method="POST",
                path=PATH,
                handle=take,
                summary="Say that a suggestion was shown, taken or refused.",
                scopes=("api", "ai_features"),
                stability="ours",
                status=204,
            )
        ]
    )
