"""Who calls, and with which client."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec
from msgspec import Struct

NO_CLAIMS: Mapping[str, object] = MappingProxyType({})
LABELS = ("lsp_version", "gitlab_version", "client_type", "gitlab_realm", "is_gitlab_team_member")
"""What metrics tell of a client. Source: agent-platform contract, sections 0 and 3.1."""


class Who(Struct, frozen=True, gc=False):
    """Whom a call is counted for: what limits and usage can tell apart. "" is not known.

    Nothing here is a secret: `token` is the id of a token, or the start of its digest. `listed` is
    the name under which the settings list the instance whose key verified the token.
    """

    instance: str = ""
    namespace: str = ""
    user: str = ""
    token: str = ""
    realm: str = ""
    listed: str = ""


NOBODY = Who()


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller. Comes from a verified token, or from a bypass mode (`debug`).

    `self_issued` is true for tokens that this service minted for an end user (their issuer is the
    service's own name). `extra` holds the claims that have no field here, as sent. `listed` is as
    in `Who`.
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
    listed: str = ""
    who: Who = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Once for a verified token, and not with each of its calls.
        claims = self.extra
        namespace = claims.get("gitlab_root_namespace_id") or claims.get("gitlab_namespace_id")
        who = Who(
            instance=self.listed or self.instance_uid or self.instance_id or self.issuer,
            namespace="" if namespace is None else str(namespace),
            user=self.global_user_id or self.subject,
            token=str(claims.get("jti") or ""),
            realm=self.realm,
            listed=self.listed,
        )
        object.__setattr__(self, "who", who)


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

    @property
    def labels(self) -> tuple[str, ...]:
        """The values of LABELS; "" is not known."""
        get = self.headers.get
        member = get("x-gitlab-is-a-gitlab-member") or get("x-gitlab-is-team-member") or ""
        return (
            get("x-gitlab-language-server-version", ""),
            get("x-gitlab-version", ""),
            get("x-gitlab-client-type", ""),
            get("x-gitlab-realm", ""),
            member.lower() if member.lower() in ("true", "false") else "",
        )
