"""Hands out what clients need to reach gateway and platform: tokens, headers, addresses.

Source: instance contract, sections 1.12 to 1.17.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from isthmus.auth.scopes import UNIT_PRIMITIVES
from isthmus.core.accounts import Member, Place
from isthmus.core.identity import Caller, ClientInfo


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
        global_user_id=member.user.global_id,
    )


class Broker:
    """Mints for members. Raises Unavailable when no token can be signed."""

    def __init__(self, grants: Grants, identity: Identity) -> None:
        self._grants = grants
        self.identity = identity

    async def gateway(self, member: Member) -> Access:
        """For the provider proxies (third-party agents)."""
        raise NotImplementedError

    async def suggestions(self, member: Member) -> Access:
        """For completing straight at the gateway. Raises Forbidden when that is switched off."""
        raise NotImplementedError

    async def platform(self, member: Member, place: Place, definition: str) -> Access:
        """For sessions over gRPC."""
        raise NotImplementedError
