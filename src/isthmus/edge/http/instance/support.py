"""Small questions that clients put to an instance: who am I, what is here, which version.

Source: instance contract, section 1.19.
"""

from urllib.parse import unquote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from isthmus import __version__
from isthmus.core.accounts import Member, Namespace, TokenKind
from isthmus.core.errors import NotFound, Unauthenticated
from isthmus.edge.http.endpoint import Endpoint, Handle
from isthmus.edge.http.instance._answer import address, answer
from isthmus.edge.http.membership import instance_of, member_of
from isthmus.edge.services import Services
from isthmus.instance.accounts import require

READING = ("api", "read_api", "ai_features", "ai_workflows")


class VersionReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the instance is."""

    version: str
    revision: str
    enterprise: bool | None = None


class UserReply(msgspec.Struct, frozen=True):
    """Who the caller is."""

    id: int
    username: str
    name: str
    email: str
    state: str
    web_url: str


class NamespaceReply(msgspec.Struct, frozen=True):
    """A namespace, or a group with what clients look up of it."""

    id: int
    name: str
    path: str
    full_path: str
    kind: str
    parent_id: int | None
    web_url: str
    experiment_features_enabled: bool = True


class ProjectReply(msgspec.Struct, frozen=True):
    """A project and its namespace."""

    id: int
    name: str
    path: str
    path_with_namespace: str
    description: str
    default_branch: str
    web_url: str
    http_url_to_repo: str
    namespace: NamespaceReply


class TokenReply(msgspec.Struct, frozen=True):
    """The personal token that the caller presented."""

    id: int
    name: str
    scopes: list[str]
    active: bool
    revoked: bool
    user_id: int
    created_at: str
    expires_at: str | None


class ApplicationReply(msgspec.Struct, frozen=True):
    """The client to which a token was given."""

    uid: str


class TokenInfo(msgspec.Struct, frozen=True):
    """The OAuth token that the caller presented."""

    resource_owner_id: int
    scope: list[str]
    expires_in: int | None
    application: ApplicationReply
    created_at: int


async def _version(request: Request) -> Response:
    _reader(request)
    return answer(VersionReply(instance_of(request).settings.version, __version__))


async def _metadata(request: Request) -> Response:
    _reader(request)
    return answer(VersionReply(instance_of(request).settings.version, __version__, True))


async def _user(request: Request) -> Response:
    user = _reader(request).user
    url = f"{_base(request)}/{user.username}"
    return answer(UserReply(user.id, user.username, user.name, user.email, "active", url))


async def _project(request: Request) -> Response:
    member = _reader(request)
    place = await instance_of(request).places.place(member, _key(request, "Project"))
    project, base = place.project, _base(request)
    if project is None:
        raise NotFound("404 Project Not Found")
    url = f"{base}/{project.full_path}"
    return answer(
        ProjectReply(
            id=project.id,
            name=project.name,
            path=project.path,
            path_with_namespace=project.full_path,
            description=project.description,
            default_branch=project.default_branch,
            web_url=url,
            http_url_to_repo=f"{url}.git",
            namespace=_shown(place.namespace, base),
        )
    )


async def _namespace(request: Request) -> Response:
    member = _reader(request)
    found = await instance_of(request).places.namespace(member, _key(request, "Namespace"))
    return answer(_shown(found, _base(request)))


async def _own_token(request: Request) -> Response:
    token = member_of(request).token
    if token.kind is not TokenKind.PERSONAL or token.user_id is None:
        raise Unauthenticated("401 Unauthorized")
    ends = token.expires_at
    return answer(
        TokenReply(
            id=token.id,
            name=token.name,
            scopes=sorted(token.scopes),
            active=True,
            revoked=False,
            user_id=token.user_id,
            created_at=token.created_at.isoformat(timespec="milliseconds"),
            expires_at=None if ends is None else ends.date().isoformat(),
        )
    )


async def _token_info(request: Request) -> Response:
    token = member_of(request).token
    if token.kind is TokenKind.PERSONAL or token.user_id is None:
        raise Unauthenticated("401 Unauthorized")
    now, ends = instance_of(request).clock.utc(), token.expires_at
    return answer(
        TokenInfo(
            resource_owner_id=token.user_id,
            scope=sorted(token.scopes),
            expires_in=None if ends is None else int((ends - now).total_seconds()),
            application=ApplicationReply(token.client_id),
            created_at=int(token.created_at.timestamp()),
        )
    )


async def _tracked(request: Request) -> Response:
    member_of(request)
    return Response(b"")


def _reader(request: Request) -> Member:
    member = member_of(request)
    require(member, *READING)
    return member


def _base(request: Request) -> str:
    return address(request, instance_of(request).settings.external_url)


def _key(request: Request, thing: str) -> str:
    """The id or path that a request names. Raises NotFound for anything below it.

    The path as it came tells `g%2Fp`, a project, from `g/p`, something below `g`.
    """
    raw: bytes | None = request.scope.get("raw_path")
    path = request.scope["path"] if raw is None else raw.partition(b"?")[0].decode("latin-1")
    prefix = request.scope["path"].removesuffix(request.path_params["path"])
    key = path.removeprefix(prefix)
    if raw is not None and "/" in key:
        raise NotFound(f"404 {thing} Not Found")
    return unquote(key)


def _shown(found: Namespace, base: str) -> NamespaceReply:
    return NamespaceReply(
        id=found.id,
        name=found.name,
        path=found.path,
        full_path=found.full_path,
        kind="group" if found.owner_id is None else "user",
        parent_id=found.parent_id,
        web_url=f"{base}/{found.full_path}",
    )


def routes(_: Services) -> list[Endpoint]:
    """The questions, each with its answer."""
    told: tuple[tuple[str, str, Handle, str, type | None], ...] = (
        ("GET", "/api/v4/version", _version, "Say which version this is.", VersionReply),
        ("GET", "/api/v4/metadata", _metadata, "Say what this instance is.", VersionReply),
        ("GET", "/api/v4/user", _user, "Say who the caller is.", UserReply),
        ("GET", "/api/v4/projects/{path:path}", _project, "Show a project.", ProjectReply),
        ("GET", "/api/v4/namespaces/{path:path}", _namespace, "Show a namespace.", NamespaceReply),
        ("GET", "/api/v4/groups/{path:path}", _namespace, "Show a group.", NamespaceReply),
        (
            "GET",
            "/api/v4/personal_access_tokens/self",
            _own_token,
            "Show the caller's personal token.",
            TokenReply,
        ),
        ("GET", "/oauth/token/info", _token_info, "Show the caller's OAuth token.", TokenInfo),
        ("POST", "/api/v4/usage_data/track_event", _tracked, "Take a usage event.", None),
    )
    return [
        Endpoint(method, path, handle, summary, reply=reply, scopes="any")
        for method, path, handle, summary, reply in told
    ]
