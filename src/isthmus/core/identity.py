"""Who calls, and with which client."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec
from msgspec import Struct

NO_CLAIMS: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller. Comes from a verified token, or from a bypass mode (`debug`).

    `self_issued` is true for tokens that this service minted for an end user (their issuer is the
    service's own name). `extra` holds the claims that have no field here, as sent.
    """

    subject: str
    issuer: str = ""
    scopes: frozenset[str] = frozenset()
    self_issued: bool = False
    debug: bool = False
    realm: str = ""
    instance_id: str = ""
    instance_uid: str = ""
    seat_count: str = ""
    global_user_id: str = ""
    extra: Mapping[str, object] = field(default_factory=lambda: NO_CLAIMS)


class ClientInfo(Struct, frozen=True, gc=False):
    """What the calling client says of itself in its headers; never trusted for a permission.

    `headers` maps lower-case names to values, and holds only the `x-gitlab-*`, `x-request-id`,
    `user-agent` and `bypass-auth` headers.
    """

    headers: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])

    def get(self, name: str, default: str = "") -> str:
        """The header's value, or `default`; `name` is in lower case."""
        return self.headers.get(name, default)

    @property
    def feature_flags(self) -> tuple[str, ...]:
        """Flags as sent, split at commas and not trimmed; empty when the header is absent."""
        text = self.headers.get("x-gitlab-enabled-feature-flags")
        return () if text is None else tuple(text.split(","))
