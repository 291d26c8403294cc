"""The branch of the settings tree for the embedded instance: accounts, records, relay."""

from typing import Literal

from pydantic import Field, SecretStr

from isthmus.settings_group import NONE, Group


class OidcSettings(Group):
    """Sign-in of people at an identity provider, by OpenID Connect."""

    issuer: str = Field(default="", description="The provider's issuer URL; empty: local accounts.")
    client_id: str = Field(default="", description="Our client id there.")
    client_secret: SecretStr = Field(default=NONE, description="Our client secret there.")
    scopes: tuple[str, ...] = Field(
        default=("openid", "profile", "email"), description="What is asked for."
    )


class RelaySettings(Group):
    """The WebSocket that carries sessions."""

    ping_s: float = Field(default=20.0, gt=0, description="Between pings to a client.")
    pong_s: float = Field(default=30.0, gt=0, description="Wait for a pong before giving up.")
    write_s: float = Field(default=60.0, gt=0, description="Limit of sending one frame.")
    message_limit_bytes: int = Field(
        default=4 * 1024 * 1024, ge=65_536, description="Largest frame, both ways."
    )
    max_sockets: int = Field(default=5_000, ge=1, description="Sockets at once in this process.")
    sockets_per_minute: int = Field(
        default=240, ge=1, description="Sockets that one user may open in a minute."
    )
    lock: bool = Field(default=True, description="One socket a workflow at a time.")
    origins: tuple[str, ...] = Field(
        default=(), description="Origins besides our own from which browsers may connect."
    )
    late_lookup: bool = Field(
        default=True,
        description="Look the stored model up at the start request, for clients that send no id.",
    )
    action_s: float = Field(default=60.0, gt=0, description="Limit of one HTTP action.")


class InstanceSettings(Group):
    """The instance API: what clients otherwise ask a GitLab instance for."""

    enabled: bool = Field(default=True, description="Serve `/api` and `/oauth`.")
    external_url: str = Field(
        default="", description="Our address as clients know it; empty: as each request names it."
    )
    gateway_url: str = Field(
        default="", description="The gateway's address as clients know it; empty: the same."
    )
    gitlab_url: str = Field(
        default="",
        description="GitLab instance that sessions act on with their caller's token; empty: ours.",
    )
    version: str = Field(default="19.0.0-ee", description="Version that clients are told.")
    realm: Literal["self-managed", "saas"] = Field(
        default="self-managed", description="Realm of the tokens that are granted."
    )
    relay_secret: SecretStr = Field(
        default=NONE,
        description="Shared with a relay outside of this process; empty: there is none.",
    )
    keep_model: Literal["first", "every"] = Field(
        default="first", description="Which model stays with a workflow: the first, or the last."
    )
    pinned_models: dict[str, str] = Field(
        default={}, description="Feature setting -> the one model of its sessions; no choice then."
    )
    stuck_after_s: float = Field(
        default=1_800.0, gt=0, description="Running workflows idle for so long are given up."
    )
    archive_after_s: float = Field(
        default=2_592_000.0, gt=0, description="Older workflows cannot be continued."
    )
    introspection: bool = Field(
        default=False, description="GraphQL clients may ask for the schema."
    )
    graphql_depth: int = Field(default=20, ge=4, description="Deepest GraphQL query.")
    graphql_cost: int = Field(default=5_000, ge=100, description="Most fields of a GraphQL answer.")
    direct_connections: bool = Field(
        default=True, description="Clients may complete code straight at the gateway."
    )
    register_projects: bool | None = Field(
        default=None,
        description="A project path that nobody has becomes the caller's; empty: unless people "
        "sign in at a provider.",
    )
    tool_approval_for_session: bool = Field(
        default=True, description="Users may approve a tool for the rest of a session."
    )
    direct_access_per_minute: int = Field(
        default=60, ge=1, description="Session tokens that one user may ask for in a minute."
    )
    platform_address: str = Field(
        default="",
        description="The agent platform's `host:port` as clients know it; empty: our host.",
    )
    oauth_redirects: tuple[str, ...] = Field(
        default=(),
        description="Whole addresses, besides those on the browser's own machine, to which a "
        "client may have its code sent.",
    )
    oidc: OidcSettings = OidcSettings()
    relay: RelaySettings = RelaySettings()

    @property
    def registers(self) -> bool:
        """Whether unknown paths become their caller's; among many that would take names away."""
        if self.register_projects is None:
            return not self.oidc.issuer
        return self.register_projects
