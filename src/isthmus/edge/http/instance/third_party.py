"""`POST /api/v4/ai/third_party_agents/direct_access`: a token for the provider proxies.

Source: instance contract, section 1.16.
"""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.instance._answer import answer
from isthmus.edge.http.membership import instance_of, member_of
from isthmus.edge.services import Services
from isthmus.instance.accounts import require

PATH = "/api/v4/ai/third_party_agents/direct_access"


class ProxyAccess(msgspec.Struct, frozen=True):
    """Headers to send, a token, and the second (since the epoch) at which it ends."""

    headers: dict[str, str]
    token: str
    expires_at: int


async def _create(request: Request) -> Response:
    member = member_of(request)
    require(member, "api", "ai_features")
    access = await instance_of(request).broker.gateway(member)
    return answer(ProxyAccess(dict(access.headers), access.token, access.expires_at), 201)


def routes(_: Services) -> list[Endpoint]:
    """The one route of this module. Its body is never read."""
    return [
        Endpoint(
            method="POST",
            path=PATH,
            handle=_create,
            summary="Hand out a token for the provider proxies.",
            reply=ProxyAccess,
            scopes="`api` or `ai_features`",
            status=201,
        )
    ]
