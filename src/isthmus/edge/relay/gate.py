"""Who may open a session's socket, for which place, and what the platform is told of it.

Everything here is decided before the upgrade; a refusal is an ordinary HTTP answer.
Source: instance contract, sections 3.1 to 3.3.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.types import Scope

from isthmus.core.accounts import BROWSERS, LETTING_IN, Member, Namespace, Place, TokenKind
from isthmus.core.errors import Forbidden, Rejected, Unauthenticated, Unavailable
from isthmus.core.limits import LimitKey
from isthmus.edge.http.membership import SESSION, cookie, credential, headers_of
from isthmus.edge.instance import InstanceServices
from isthmus.instance import broker
from isthmus.instance.accounts import require
from isthmus.instance.metadata import CHAT_FEATURE, Wanted
from isthmus.settings import InstanceSettings

SUBPROTOCOL: Final = "isthmus.v1"
TOKEN_PROTOCOL: Final = "isthmus.token."  # noqa: S105 - a prefix
"""How a page, which cannot set headers, presents a token: this and the token in base64url."""
PARAMETERS_LIMIT: Final = 50
VALUE_LIMIT_CHARS: Final = 2_048
NAME_LIMIT_CHARS: Final = 255
FORWARDED: Final = (
    "x-gitlab-language-server-version",
    "x-gitlab-client-type",
    "x-gitlab-client-name",
    "x-gitlab-client-version",
    "x-gitlab-tracking-context",
    "langsmith-trace",
)
"""The client's headers that the platform is told; they override ours."""
NO_NAMESPACE: Final = "No default GitLab Duo namespace: set one in your user preferences."
MISMATCH: Final = "The namespace does not match the project or workflow."
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True, slots=True)
class Knock:
    """A request for an upgrade. `query` and `headers` hold the first of repeated names."""

    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str]
    subprotocols: Sequence[str] = field(repr=False)
    peer: str
    scheme: str

    @property
    def client_type(self) -> str:
        """What the client says it is."""
        return _told(self.headers.get("x-gitlab-client-type") or self.query.get("client_type", ""))


@dataclass(frozen=True, slots=True)
class Admission:
    """A client that was let in. `headers` are the platform's, without the model's.

    `token` is what was presented, for an instance that is not ours; empty for a browser's session.
    """

    member: Member
    place: Place
    wanted: Wanted
    knock: Knock
    headers: Mapping[str, str]
    subprotocol: str | None
    capabilities: tuple[str, ...]
    token: str = field(repr=False, default="")


def knock_of(scope: Scope) -> Knock:
    """The request behind a WebSocket's scope. Raises Rejected for a query that is no query."""
    try:
        text = scope["query_string"].decode("ascii")
        pairs = parse_qsl(text, max_num_fields=PARAMETERS_LIMIT, keep_blank_values=True)
    except ValueError as error:
        raise Rejected("The query cannot be read.") from error
    query: dict[str, str] = {}
    for name, value in pairs:
        query.setdefault(name, value[:VALUE_LIMIT_CHARS])
    peer = scope.get("client")
    return Knock(
        headers=headers_of(scope),
        query=query,
        subprotocols=tuple(scope.get("subprotocols") or ()),
        peer=peer[0] if peer else "",
        scheme="https" if scope.get("scheme") == "wss" else "http",
    )


async def admit(instance: InstanceServices, knock: Knock) -> Admission:
    """Raises Unauthenticated, Forbidden, NotFound, LimitExceeded, Unavailable or Rejected."""
    token, kinds = _token(knock, instance.settings)
    member = await instance.accounts.member(token, kinds=kinds)
    require(member, "api", "ai_workflows")
    settings = instance.settings.relay
    limit = LimitKey("sockets", str(member.user.id), settings.sockets_per_minute, 60.0)
    await instance.limiter.take(limit, 1)
    if instance.sessions is None:
        raise Unavailable("No session can run here.")
    if workflow_id := knock.query.get("workflow_id", ""):
        await instance.workflows.own(member, workflow_id)
    place = await _place(instance, member, knock)
    feature = knock.headers.get("x-gitlab-agent-platform-feature-setting-name", "")
    on = instance.flags.on
    return Admission(
        member=member,
        place=place,
        wanted=Wanted(
            _told(feature) or CHAT_FEATURE, knock.query.get("user_selected_model_identifier", "")
        ),
        knock=knock,
        headers=await _metadata(instance, member, place, knock),
        subprotocol=SUBPROTOCOL if SUBPROTOCOL in knock.subprotocols else None,
        capabilities=broker.capabilities(
            approval=instance.settings.tool_approval_for_session,
            incremental=await on("incremental_checkpoints", place, member.user),
        ),
        token=token if kinds == LETTING_IN else "",
    )


def _token(knock: Knock, settings: InstanceSettings) -> tuple[str, frozenset[TokenKind]]:
    """The token, and what kind it may be of. Raises Unauthenticated, Forbidden."""
    headers = knock.headers
    if "private-token" in headers or "authorization" in headers:
        return credential(headers, reads=False)
    carried = [name for name in knock.subprotocols if name.startswith(TOKEN_PROTOCOL)]
    session = cookie(headers, SESSION)
    # A page cannot lie about its origin, and only a page needs these ways in.
    if (carried or session) and not _ours(knock, settings, silent=bool(carried)):
        raise Forbidden("This page may not connect.")
    if not carried:
        return session, BROWSERS
    text = carried[0].removeprefix(TOKEN_PROTOCOL)
    try:
        token = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise Unauthenticated("401 Unauthorized") from error
    return token, LETTING_IN


def _ours(knock: Knock, settings: InstanceSettings, *, silent: bool) -> bool:
    """Whether the page that connects is our own, or of an origin that the operator lists.

    `silent` is the answer for who names no origin.
    """
    origin = knock.headers.get("origin", "").lower()
    if not origin:
        return silent
    own = {f"{knock.scheme}://{knock.headers.get('host', '').lower()}"}
    if settings.external_url:
        parts = urlsplit(settings.external_url.lower())
        own.add(f"{parts.scheme}://{parts.netloc}")
    return origin in own or origin in {each.lower().rstrip("/") for each in settings.relay.origins}


async def _place(instance: InstanceServices, member: Member, knock: Knock) -> Place:
    """Where the session belongs; every id that is given must fit. Raises NotFound, Forbidden."""
    query, places = knock.query, instance.places
    named = query.get("namespace_id") or knock.headers.get("x-gitlab-namespace-id", "")
    root = await _namespace(instance, member, query.get("root_namespace_id", ""))
    namespace = await _namespace(instance, member, named)
    given, project = namespace or root, query.get("project_id")
    try:
        place = Place(given) if given and not project else await places.place(member, project)
    except Rejected as error:
        raise Forbidden(NO_NAMESPACE) from error
    if (root and root.id != place.root_id) or (namespace and namespace.root_id != place.root_id):
        raise Forbidden(MISMATCH)
    return place


async def _namespace(instance: InstanceServices, member: Member, key: str) -> Namespace | None:
    return await instance.places.namespace(member, key) if key else None


async def _metadata(
    instance: InstanceServices, member: Member, place: Place, knock: Knock
) -> dict[str, str]:
    """Every header of 3.3 that is known before the session starts, but for the credentials.

    The token for HTTP actions is one of those: nobody but the relay needs it.
    """
    flags = await instance.flags.forwarded(place, member.user)
    logging = "true" if "expanded_ai_logging" in flags else "false"
    headers = broker.headers_of(member, instance.broker.identity) | {
        "x-gitlab-user-id": str(member.user.id),
        "x-gitlab-organization-id": "1",
        "x-gitlab-namespace-id": str(place.namespace.id),
        "x-gitlab-root-namespace-id": str(place.root_id),
        "x-gitlab-feature-enabled-by-namespace-ids": str(place.root_id),
        "x-gitlab-unit-primitive": "duo_workflow_execute_workflow",
        "x-gitlab-is-team-member": "false",
        "x-gitlab-enabled-feature-flags": ",".join(flags),
        "x-gitlab-enabled-instance-verbose-ai-logs": "false",
        "x-gitlab-extended-logging": logging,
        "x-gitlab-unidirectional-streaming": "enabled",
        "x-gitlab-model-prompt-cache-enabled": "true",
        "x-gitlab-self-hosted-dap-billing-enabled": "false",
        "x-gitlab-client-type": knock.client_type,
        "x-gitlab-client-name": "gitlab-duo-workflow",
        "x-gitlab-correlation-id": _told(knock.headers.get("x-request-id", "")),
        "user-agent": f"{_told(knock.headers.get('user-agent', ''))} gitlab-workhorse".strip(),
    }
    if place.project is not None:
        headers["x-gitlab-project-id"] = str(place.project.id)
    for name in FORWARDED:
        if told := _told(knock.headers.get(name, "")):
            headers[name] = told
    headers["x-gitlab-client-name"] = headers["x-gitlab-client-name"][:NAME_LIMIT_CHARS]
    return {name: value for name, value in headers.items() if value}


def _told(text: str) -> str:
    """A client's word as a header can carry it on; nothing when it cannot."""
    short = len(text) <= VALUE_LIMIT_CHARS and _PRINTABLE.fullmatch(text)
    return text if short else ""
