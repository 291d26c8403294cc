"""Wire of `GET /ai/duo_workflows/workflows/agent_privileges`: what an agent may be allowed.

Source: instance contract, section 1.3.
"""

from msgspec import Struct
from starlette.responses import Response

from isthmus.core.workflow import DEFAULT_PRIVILEGES, PRIVILEGES
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.instance._entry import ROOT, Route, Visit, endpoints
from isthmus.edge.http.instance._shapes import reply
from isthmus.edge.services import Services

DESCRIPTIONS = {
    1: "Read and change files in the workspace.",
    2: "Read from GitLab.",
    3: "Read from GitLab and change things there.",
    4: "Run commands in the workspace.",
    5: "Use Git in the workspace.",
    6: "Run tools of the MCP servers that the client is connected to.",
    7: "Start other flows.",
    8: "Read files in the workspace.",
}


class Privilege(Struct, frozen=True):
    """One of them."""

    id: int
    name: str
    description: str
    default_enabled: bool


class Privileges(Struct, frozen=True):
    """All of them."""

    all_privileges: tuple[Privilege, ...]


ALL = Privileges(
    tuple(
        Privilege(number, name, DESCRIPTIONS[number], number in DEFAULT_PRIVILEGES)
        for number, name in PRIVILEGES.items()
    )
)


async def _show(_visit: Visit) -> Response:
    return reply(ALL)


ROUTES = (
    Route(
        method="GET",
        path=f"{ROOT}/workflows/agent_privileges",
        handle=_show,
        summary="List what an agent may be allowed.",
        scopes=("api",),
        reply=Privileges,
    ),
)


def routes(_services: Services) -> list[Endpoint]:
    """The one route of this module."""
    return endpoints(ROUTES)
