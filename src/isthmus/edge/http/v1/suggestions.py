"""`POST /v1/suggestions/{id}/{verdict}`: an editor says what became of a suggestion."""

from starlette.requests import Request
from starlette.responses import Response

from isthmus.core.errors import NotFound
from isthmus.edge.http.auth import caller_of
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.services import Services
from isthmus.gateway.judge import VERDICTS, Judge


def routes(services: Services) -> list[Endpoint]:
    """The one route of this module. Its body is never read."""
    judge = Judge(services.telemetry)

    async def take(request: Request) -> Response:
        verdict = request.path_params["verdict"]
        if verdict not in VERDICTS:
            raise NotFound("Not Found")
        judge.judge(request.path_params["id"], verdict, caller_of(request))
        return Response(status_code=204)

    return [
        Endpoint(
            method="POST",
            path="/v1/suggestions/{id}/{verdict}",
            handle=take,
            summary="Say that a suggestion, by its `x-suggestion-id`, was shown, taken or refused.",
            scopes="`complete_code` or `generate_code`",
            stability="ours",
            status=204,
            choices={"verdict": VERDICTS},
        )
    ]
