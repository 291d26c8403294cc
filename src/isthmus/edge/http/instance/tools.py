"""Wire of `GET /ai/duo_workflows/list_tools`: the tools that sessions have.

Source: instance contract, section 1.13.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct
from starlette.responses import Response

from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.instance._entry import ROOT, Route, Visit, endpoints
from isthmus.edge.http.instance._shapes import reply
from isthmus.edge.http.instance.direct_access import limit
from isthmus.edge.services import Services


class ToolList(Struct, frozen=True):
    """Function specifications, and prompts to try them with: there are none of those."""

    tools: Sequence[Mapping[str, object]]
    eval_dataset: Sequence[Mapping[str, object]] = ()


async def _show(visit: Visit) -> Response:
    await limit(visit.instance, visit.member)
    return reply(ToolList(visit.instance.tools))


ROUTES = (
    Route(
        method="GET",
        path=f"{ROOT}/list_tools",
        handle=_show,
        summary="List the tools that sessions have.",
        scopes=("api",),
        reply=ToolList,
    ),
)


def routes(_services: Services) -> list[Endpoint]:
    """The one route of this module."""
    return endpoints(ROUTES)
