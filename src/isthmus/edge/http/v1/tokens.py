"""Wire of `POST /v1/code/user_access_token`: an instance asks for a token of one of its users.

Source: HTTP gateway contract, section 3.
"""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from isthmus.edge.http.auth import caller_of, client_of
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.services import Services


class UserToken(msgspec.Struct, frozen=True):
    """A short-lived user token; `expires_at` in seconds since the epoch."""

    token: str
    expires_at: int


def routes(services: Services) -> list[Endpoint]:
    """The one route of this module. Its body is never read."""

    async def create(request: Request) -> Response:
        granted = await services.grant.user_token(caller_of(request), client_of(request))
        reply = UserToken(granted.token, granted.expires_at)
        return Response(
            msgspec.json.encode(reply),
            media_type="application/json",
            headers={"cache-control": "no-store"},
        )

    return [
        Endpoint(
            method="POST",
            path="/v1/code/user_access_token",
            handle=create,
            summary="Exchange an instance token for a short-lived user token.",
            reply=UserToken,
            scopes="`complete_code` or `ai_gateway_model_provider_proxy`",
            refusals=(402, 500),
        )
    ]
