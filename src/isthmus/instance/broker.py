"""Hands out what clients need to reach gateway and platform: tokens, headers, addresses.

Source: instance contract, sections 1.12 to 1.17.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from isthmus.auth.scopes import UNIT_PRIMITIVES
from isthmus.core.accounts import Member, Place
from isthmus.core.errors import CannotSign, Forbidden, InsufficientCredits, NotEntitled, Unavailable
from isthmus.core.identity import Caller, ClientInfo

PROXY_PRIMITIVE: Final = "ai_gateway_model_provider_proxy"
ENABLEMENT: Final = "duo_enterprise"
"""How AI features are paid for here; clients only hand it on."""
APPROVALS: Final = ("tool_call_approval", "tool_call_pattern_approval")
INCREMENTAL: Final = "incremental_checkpoints"


class Granted(Protocol):
    """A token and the second (since the epoch) at which it ends."""

    @property
    def token(self) -> str: ...

    @property
    def expires_at(self) -> int: ...


class Grants(Protocol):
    """Signs tokens of the gateway and of the platform."""

    async def user_token(self, caller: Caller, client: ClientInfo) -> Granted: ...

    def platform_token(
        self, caller: Caller, client: ClientInfo, workflow_definition: str
    ) -> Granted: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this instance is."""

    instance_id: str
    host_name: str
    version: str
    realm: str


@dataclass(frozen=True, slots=True)
class Reach:
    """How clients reach what they get tokens for.

    `platform` is the agent platform's `host:port`; empty: `platform_port` of the host that a
    request names. `direct` says whether clients may complete code straight at the gateway.
    """

    platform: str = ""
    platform_port: int = 50052
    platform_secure: bool = False
    direct: bool = True


@dataclass(frozen=True, slots=True)
class Access:
    """A token, when it ends (epoch seconds), and the headers that go with it."""

    token: str
    expires_at: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def caller_of(member: Member, identity: Identity) -> Caller:
    """The member as gateway and platform know a caller: by its global id, from this instance."""
    return Caller(
        subject=identity.instance_id,
        issuer=identity.host_name,
        scopes=UNIT_PRIMITIVES,
        realm=identity.realm,
        instance_id=identity.instance_id,
        instance_uid=identity.instance_id,
        global_user_id=member.user.global_id,
    )


def headers_of(member: Member, identity: Identity) -> dict[str, str]:
    """What gateway and platform are told of instance and user, by lower-case name."""
    return {
        "x-gitlab-authentication-type": "oidc",
        "x-gitlab-instance-id": identity.instance_id,
        "x-gitlab-host-name": identity.host_name,
        "x-gitlab-realm": identity.realm,
        "x-gitlab-version": identity.version,
        "x-gitlab-global-user-id": member.user.global_id,
        "x-gitlab-feature-enablement-type": ENABLEMENT,
    }


def capabilities(*, approval: bool, incremental: bool) -> tuple[str, ...]:
    """What a session's server can do, as clients are told."""
    approvals = APPROVALS if approval else ()
    blobs = (INCREMENTAL,) if incremental else ()
    return ("flow_semantic_versioning", "tool_call_approval_source", *approvals, *blobs)


class Broker:
    """Mints for members. Raises Unavailable when no token can be signed."""

    def __init__(self, grants: Grants, identity: Identity, reach: Reach | None = None) -> None:
        self._grants = grants
        self.identity = identity
        self.reach = reach or Reach()

    async def gateway(self, member: Member) -> Access:
        """For the provider proxies (third-party agents). Raises Forbidden for want of credits."""
        headers = headers_of(member, self.identity)
        return await self._user(member, headers | {"x-gitlab-unit-primitive": PROXY_PRIMITIVE})

    async def suggestions(self, member: Member) -> Access:
        """For completing straight at the gateway. Raises Forbidden when that is switched off."""
        if not self.reach.direct:
            raise Forbidden("Direct connections are disabled")
        headers = headers_of(member, self.identity) | {
            "x-gitlab-saas-duo-pro-namespace-ids": "",
            "x-gitlab-saas-namespace-ids": "",
            "x-gitlab-model-prompt-cache-enabled": "true",
        }
        access = await self._user(member, headers)
        titled = {name.title(): value for name, value in headers.items()}
        return replace(access, headers=titled)

    async def platform(self, member: Member, place: Place, definition: str) -> Access:
        """For sessions over gRPC."""
        headers = headers_of(member, self.identity) | {
            "x-gitlab-user-id": str(member.user.id),
            "x-gitlab-namespace-id": str(place.namespace.id),
            "x-gitlab-root-namespace-id": str(place.root_id),
            "x-gitlab-unit-primitive": "duo_workflow_execute_workflow",
        }
        if place.project is not None:
            headers["x-gitlab-project-id"] = str(place.project.id)
        caller = replace(
            caller_of(member, self.identity), extra={"gitlab_root_namespace_id": place.root_id}
        )
        try:
            granted = self._grants.platform_token(caller, ClientInfo(headers), definition)
        except CannotSign as error:
            raise Unavailable("no token could be created") from error
        return Access(granted.token, granted.expires_at, headers)

    async def _user(self, member: Member, headers: Mapping[str, str]) -> Access:
        """A gateway token that fits these very headers."""
        caller = caller_of(member, self.identity)
        try:
            granted = await self._grants.user_token(caller, ClientInfo(headers))
        except CannotSign as error:
            raise Unavailable("no token could be created") from error
        except InsufficientCredits as error:
            raise Forbidden(f"USAGE_QUOTA_EXCEEDED: {error.detail}") from error
        except NotEntitled as error:
            raise Forbidden(f"USAGE_BILLING_FORBIDDEN: {error.detail}") from error
        return Access(granted.token, granted.expires_at, headers)
