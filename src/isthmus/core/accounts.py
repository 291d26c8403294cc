"""Who has an account here, and where: users, namespaces, projects, tokens.

A namespace is a user's own or a group; groups stand below groups, projects below either. Ids are
positive and never used twice. Source: instance contract, sections 1.0 and 1.19.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

SCOPES = frozenset({"api", "read_api", "ai_features", "ai_workflows", "mcp"})
"""Scopes that a token may hold."""
FLOW_SCOPES = frozenset({"ai_workflows", "mcp"})
"""Scopes of the token that a session acts with."""


@dataclass(frozen=True, slots=True)
class User:
    """An account. `global_id` names it towards gateway and platform, and owns its workflows.

    `namespace_id` is its own namespace, the default for what names no other. `subject` is its name
    at the identity provider ("<issuer> <sub>"), empty for a local account. `password` is a hash
    with its parameters, empty when there is none.
    """

    id: int
    username: str
    name: str
    email: str
    global_id: str
    namespace_id: int
    created_at: datetime
    admin: bool = False
    active: bool = True
    subject: str = ""
    password: str = ""


@dataclass(frozen=True, slots=True)
class NewUser:
    """An account to be made, with a namespace of its own under `username`."""

    username: str
    name: str
    email: str = ""
    admin: bool = False
    subject: str = ""
    password: str = ""


@dataclass(frozen=True, slots=True)
class Namespace:
    """A user's own namespace (`owner_id` is set) or a group. `root_id` is the topmost ancestor."""

    id: int
    path: str
    name: str
    full_path: str
    root_id: int
    parent_id: int | None = None
    owner_id: int | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """A project; `full_path` is its namespace's and its own, such as `group/app`."""

    id: int
    path: str
    name: str
    full_path: str
    namespace_id: int
    root_id: int
    description: str = ""
    default_branch: str = "main"


class TokenKind(StrEnum):
    """What a token is for. Only the first three let anybody in; the last one, as a cookie alone."""

    PERSONAL = "personal"
    OAUTH = "oauth"
    FLOW = "flow"
    REFRESH = "refresh"
    CODE = "code"
    DEVICE = "device"
    BROWSER = "browser"


BROWSERS: Final = frozenset({TokenKind.BROWSER})
LETTING_IN: Final = frozenset({TokenKind.PERSONAL, TokenKind.OAUTH, TokenKind.FLOW})


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token to be kept: its SHA-256 digest, never its text.

    `details` depend on the kind: redirect address and challenge of a code, the code that a user
    types for a device. `user_id` is None for a device that nobody has approved yet.
    """

    kind: TokenKind
    digest: bytes
    user_id: int | None
    scopes: frozenset[str]
    name: str = ""
    client_id: str = ""
    expires_at: datetime | None = None
    details: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is kept."""

    id: int
    kind: TokenKind
    user_id: int | None
    scopes: frozenset[str]
    name: str
    client_id: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    details: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Member:
    """Who calls the instance API: the user, and the token that says so.

    `through_relay` is true for calls that the relay makes for a session, which some routes demand.
    """

    user: User
    token: Token
    through_relay: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a workflow belongs: a project, or a namespace alone. Flags look at `root_id`."""

    namespace: Namespace
    project: Project | None = None

    @property
    def root_id(self) -> int:
        """The topmost namespace."""
        return self.namespace.root_id
