"""`GET /v1/models/definitions`: what callers may choose. Open to everybody.

Source: HTTP gateway contract, section 8.3.
"""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from isthmus.edge.http.auth import client_of
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.reply import JSON, Reply
from isthmus.edge.services import Services
from isthmus.gateway.flags import effective
from isthmus.routing.define import Definitions


def routes(services: Services) -> list[Endpoint]:
    """The one route."""

    async def definitions(request: Request) -> Response:
        found = services.definitions(effective(client_of(request), services.barred_flags))
        return Reply(msgspec.json.encode(found), [JSON])

    return [
        Endpoint(
            "GET",
            "/v1/models/definitions",
            definitions,
            "List the models and what each feature offers",
            reply=Definitions,
        )
    ]
