"""Wire of `/ai/duo_workflows/code_review`, for an instance that keeps no merge requests.

Sessions that review code act on a GitLab instance, and ask there.
Source: instance contract, section 1.1.
"""

from msgspec import Struct
from starlette.responses import Response

from isthmus.core.errors import NotFound
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.instance._entry import ROOT, Route, Visit, endpoints
from isthmus.edge.http.instance._shapes import reply
from isthmus.edge.services import Services


class Instructions(Struct, frozen=True):
    """What a project asks reviewers to mind: nothing here."""

    instructions: str


async def _instruct(_visit: Visit) -> Response:
    return reply(Instructions(""))


async def _comment(_visit: Visit) -> Response:
    raise NotFound("404 Merge request Not Found")


ROUTES = (
    Route(
        method="GET",
        path=f"{ROOT}/code_review/custom_instructions",
        handle=_instruct,
        summary="Read what reviewers should mind: nothing is kept here.",
        scopes=("ai_workflows",),
        reply=Instructions,
    ),
    Route(
        method="POST",
        path=f"{ROOT}/code_review/add_comments",
        handle=_comment,
        summary="Comment on a merge request: none is kept here.",
        scopes=("ai_workflows",),
        status=201,
    ),
)


def routes(_services: Services) -> list[Endpoint]:
    """The routes of this module."""
    return endpoints(ROUTES)
