"""`GET /api/v4/isthmus/usage`: requests, tokens, cost, latency and acceptance, by any dimension."""

from typing import Annotated

from msgspec import Meta
from starlette.responses import Response

from isthmus.core.usage import DIMENSIONS, TIMES
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.instance._entry import Route, Visit, endpoints
from isthmus.edge.http.instance._paging import Paging, headers
from isthmus.edge.http.instance._params import reader
from isthmus.edge.http.instance._shapes import reply
from isthmus.edge.services import Services
from isthmus.instance.usage import UsageShape, UsageWish

PATH = "/api/v4/isthmus/usage"
_Time = Annotated[str, Meta(max_length=40, description="ISO 8601, or how long ago: `24h`, `7d`.")]
_By = Annotated[
    str, Meta(max_length=200, description=f"Comma-separated, of {', '.join(TIMES + DIMENSIONS)}.")
]
_Is = Annotated[str, Meta(max_length=128, description="Only what has this value; `` is unknown.")]


class UsageParams(Paging, frozen=True):
    """What is asked for; the last 30 days where nothing is said."""

    since: _Time = ""
    until: _Time = ""
    by: _By = ""
    instance: _Is | None = None
    namespace: _Is | None = None
    user: _Is | None = None
    token: _Is | None = None
    feature: _Is | None = None
    model: _Is | None = None
    provider: _Is | None = None
    deployment: _Is | None = None
    language: _Is | None = None
    outcome: _Is | None = None


_read = reader(UsageParams)


async def _usage(visit: Visit) -> Response:
    params = await _read(visit.request)
    values = {name: getattr(params, name) for name in DIMENSIONS}
    wish = UsageWish(
        since=params.since,
        until=params.until,
        by=tuple(name.strip() for name in params.by.split(",") if name.strip()),
        where={name: value for name, value in values.items() if value is not None},
        page=params.page,
        per_page=params.size,
    )
    groups, total = await visit.instance.usage.asked(visit.member, wish)
    return reply(groups, headers=headers(visit, params, total))


def routes(_services: Services) -> list[Endpoint]:
    """The one route of this module."""
    return endpoints(
        [
            Route(
                method="GET",
                path=PATH,
                handle=_usage,
                summary="Tell administrators of usage and cost, by any dimension.",
                scopes=("api", "read_api"),
                query=UsageParams,
                reply=list[UsageShape],
                stability="ours",
            )
        ]
    )
