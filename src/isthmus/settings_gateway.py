"""The branches of the settings tree for the gateway: its routes, quota, events and search."""

from pathlib import Path

from pydantic import Field, SecretStr

from isthmus.settings_group import NONE, Group


class GatewaySettings(Group):
    """Behaviour of the AI gateway."""

    region: str = Field(default="us-central1", description="Region that replies report.")
    proxy_self_managed: tuple[str, ...] = Field(
        default=(), description="Instances that may use the provider proxy; empty: all."
    )
    proxy_saas: tuple[str, ...] = Field(
        default=(), description="Root namespaces that may use the provider proxy; empty: all."
    )
    disallowed_flags: dict[str, tuple[str, ...]] = Field(
        default={}, description="Realm -> feature flags of requests that are dropped."
    )
    skipped_post_processing: tuple[str, ...] = Field(
        default=(), description="Names of steps that completions are not put through."
    )
    score_thresholds: dict[str, float] = Field(
        default={},
        description="Model -> least score of a completion; no provider tells scores yet.",
    )
    suggestions_per_minute: int = Field(
        default=0,
        ge=0,
        description="Code suggestions that one user may have in a minute, by whatever way; 0: any.",
    )
    duo_core_cutoff: bool = Field(
        default=False, description="Refuse v1 chat to callers whose enablement type is `duo_core`."
    )


class QuotaSettings(Group):
    """Credits, asked for at a portal before a call. On when user and token are set."""

    url: str = Field(
        default="",
        description="The portal; empty: `auth`'s. Where that is set and empty too, none is asked.",
    )
    api_user: str = Field(default="", description="Who asks; empty: no check.")
    api_token: SecretStr = Field(default=NONE, description="Its token; empty: no check.")
    timeout_s: float = Field(default=1.0, gt=0, description="Limit of one question.")
    ttl_s: float = Field(
        default=3_600.0, gt=0, description="How long an answer counts that names no time."
    )


class EventStream(Group):
    """Events for a collector that speaks the Snowplow tracker protocol."""

    enabled: bool = Field(default=False, description="Send them.")
    endpoint: str = Field(default="", description="The collector's URL.")
    app_id: str = Field(default="gitlab_ai_gateway", description="Application that events name.")
    namespace: str = Field(default="gl", description="Namespace of the tracker.")
    batch_size: int = Field(default=1, ge=1, le=500, description="Events in one request, at most.")


class BillingStream(EventStream):
    """The same for billing events."""

    app_id: str = Field(
        default="gitlab_ai_gateway-billing", description="Application that events name."
    )


class EventsSettings(Group):
    """Product and billing events."""

    product: EventStream = EventStream()
    billing: BillingStream = BillingStream()
    suggestions: EventStream = EventStream()
    queue_limit: int = Field(
        default=10_000, ge=1, description="Events that wait at most; more are dropped and counted."
    )


class SearchSettings(Group):
    """Search in documentation."""

    index: Path | None = Field(
        default=None, description="The index; empty: `docs.db` in `data_dir`."
    )
