"""How every route of workflows begins: who calls, with which token, and what it may use."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from isthmus.core.accounts import Member
from isthmus.core.errors import Forbidden
from isthmus.core.workflow import Workflow
from isthmus.edge.http.endpoint import Endpoint, Stability
from isthmus.edge.http.instance._answer import address
from isthmus.edge.http.membership import instance_of, member_of
from isthmus.edge.instance import InstanceServices
from isthmus.instance.accounts import require

ROOT = "/api/v4/ai/duo_workflows"
ONE = ROOT + "/workflows/{id}"


@dataclass(frozen=True, slots=True)
class Visit:
    """A request whose caller may come in."""

    request: Request
    member: Member
    instance: InstanceServices

    @property
    def workflow_id(self) -> str:
        """The id in the path, whatever it is."""
        return self.request.path_params["id"]

    @property
    def url(self) -> str:
        """Our own address, without a slash at its end."""
        return address(self.request, self.instance.settings.external_url)

    async def workflow(self) -> Workflow:
        """The caller's own. Raises NotFound."""
        return await self.instance.workflows.own(self.member, self.workflow_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """An endpoint whose handler is told who comes; `relayed` ones are for the relay alone."""

    method: str
    path: str
    handle: Callable[[Visit], Awaitable[Response]]
    summary: str
    scopes: tuple[str, ...]
    relayed: bool = False
    body: type | None = None
    query: type | None = None
    reply: type | None = None
    stream_type: str = ""
    status: int = 200
    stability: Stability = "stable"


def endpoints(routes: Iterable[Route]) -> list[Endpoint]:
    """The routes as the table takes them."""
    return [
        Endpoint(
            method=route.method,
            path=route.path,
            handle=partial(_enter, route),
            summary=route.summary,
            body=route.body,
            query=route.query,
            reply=route.reply,
            stream_type=route.stream_type,
            scopes=" or ".join(f"`{scope}`" for scope in route.scopes)
            + (", through the relay" if route.relayed else ""),
            status=route.status,
            stability=route.stability,
        )
        for route in routes
    ]


async def _enter(route: Route, request: Request) -> Response:
    """Raises InsufficientScope, or Forbidden when only the relay may call."""
    member = member_of(request)
    require(member, *route.scopes)
    if route.relayed and not member.through_relay:
        raise Forbidden("")
    return await route.handle(Visit(request, member, instance_of(request)))
