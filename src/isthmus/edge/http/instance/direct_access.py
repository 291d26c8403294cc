"""`POST /api/v4/ai/duo_workflows/direct_access`: tokens for a session and for what it acts on.

Source: instance contract, section 1.12.
"""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from isthmus.core.accounts import FLOW_SCOPES, Member, Place, TokenKind
from isthmus.core.errors import NotFound
from isthmus.core.limits import LimitKey
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.instance._answer import address, answer, host_of
from isthmus.edge.http.instance._params import reader
from isthmus.edge.http.membership import instance_of, member_of
from isthmus.edge.instance import InstanceServices
from isthmus.edge.services import Services
from isthmus.instance.accounts import Wish, require
from isthmus.instance.broker import capabilities

FLOW_TOKEN_TTL_S = 7_200.0


class AccessBody(msgspec.Struct, frozen=True):
    """What the session will be; a namespace that nobody knows counts as none."""

    workflow_definition: str | None = None
    root_namespace_id: str | int | None = None
    project_id: str | int | None = None


class RailsAccess(msgspec.Struct, frozen=True):
    """The token that a session acts with."""

    base_url: str
    token: str
    token_expires_at: str


class ServiceAccess(msgspec.Struct, frozen=True):
    """How the agent platform is reached."""

    base_url: str
    token: str
    token_expires_at: int
    headers: dict[str, str]
    secure: bool


class SessionFacts(msgspec.Struct, frozen=True):
    """What clients hand to the session as its metadata."""

    extended_logging: bool
    is_team_member: bool | None
    tool_approval_for_session_enabled: bool
    root_namespace_id: str = msgspec.field(name="rootNamespaceId")


class SessionAccess(msgspec.Struct, frozen=True):
    """Everything that a client needs to run a session by itself."""

    gitlab_rails: RailsAccess
    duo_workflow_service: ServiceAccess
    workflow_metadata: SessionFacts
    server_capabilities: tuple[str, ...]


_read = reader(AccessBody)


async def limit(instance: InstanceServices, member: Member) -> None:
    """Count a request against its user's limit. Raises LimitExceeded."""
    amount = instance.settings.direct_access_per_minute
    await instance.limiter.take(LimitKey("direct_access", str(member.user.id), amount, 60.0), 1)


async def _create(request: Request) -> Response:
    member, instance = member_of(request), instance_of(request)
    require(member, "api")
    await limit(instance, member)
    body = await _read(request)
    place = await _place(instance, member, body)
    service = await _service(request, member, place, body.workflow_definition or "")
    wish = Wish(TokenKind.FLOW, FLOW_SCOPES, FLOW_TOKEN_TTL_S, name="direct_access")
    minted = await instance.accounts.mint(member.user, wish)
    ends = minted.token.expires_at
    rails = RailsAccess(
        address(request, instance.settings.external_url),
        minted.text,
        "" if ends is None else ends.isoformat(timespec="milliseconds"),
    )
    approval = instance.settings.tool_approval_for_session
    flags = instance.flags
    logging = await flags.on("expanded_ai_logging", place, member.user)
    incremental = await flags.on("incremental_checkpoints", place, member.user)
    facts = SessionFacts(logging, None, approval, str(place.root_id))
    able = capabilities(approval=approval, incremental=incremental)
    return answer(SessionAccess(rails, service, facts, able), 201)


async def _place(instance: InstanceServices, member: Member, body: AccessBody) -> Place:
    if body.project_id or not body.root_namespace_id:
        return await instance.places.place(member, body.project_id)
    try:
        return await instance.places.place(member, namespace=body.root_namespace_id)
    except NotFound:
        # Clients send ids of other instances, and ids of a kind that was never asked for.
        return await instance.places.place(member)


async def _service(
    request: Request, member: Member, place: Place, definition: str
) -> ServiceAccess:
    broker = instance_of(request).broker
    access, reach = await broker.platform(member, place, definition), broker.reach
    host = host_of(request)
    port = host.rpartition(":")[2]
    name = host.removesuffix(f":{port}") if port.isdecimal() else host
    where = reach.platform or f"{name}:{reach.platform_port}"
    return ServiceAccess(
        where, access.token, access.expires_at, dict(access.headers), reach.platform_secure
    )


def routes(_: Services) -> list[Endpoint]:
    """The one route of this module."""
    return [
        Endpoint(
            method="POST",
            path="/api/v4/ai/duo_workflows/direct_access",
            handle=_create,
            summary="Hand out the tokens of a session.",
            body=AccessBody,
            reply=SessionAccess,
            scopes="`api`",
            status=201,
        ),
    ]
