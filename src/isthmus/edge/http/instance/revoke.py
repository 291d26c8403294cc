"""`POST /api/v4/ai/duo_workflows/revoke_token`: a client throws its session's token away.

Source: instance contract, section 1.14.
"""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.instance._answer import answer
from isthmus.edge.http.instance._params import reader
from isthmus.edge.http.membership import instance_of, member_of
from isthmus.edge.services import Services
from isthmus.instance.accounts import require


class RevokeBody(msgspec.Struct, frozen=True):
    """The token that is to let nobody in from now on."""

    token: str


_read = reader(RevokeBody)


async def _revoke(request: Request) -> Response:
    member = member_of(request)
    require(member, "api", "ai_workflows")
    body = await _read(request)
    await instance_of(request).accounts.revoke_flow(member, body.token)
    return answer({})


def routes(_: Services) -> list[Endpoint]:
    """The one route of this module."""
    return [
        Endpoint(
            method="POST",
            path="/api/v4/ai/duo_workflows/revoke_token",
            handle=_revoke,
            summary="Revoke the token of a session.",
            body=RevokeBody,
            scopes="`api` or `ai_workflows`",
        )
    ]
