"""Settings of routing: where models are served, and what happens when a call fails."""

from pydantic import Field, SecretStr

from isthmus.settings_group import NONE, Group


class DeploymentSettings(Group):
    """One place where a model of the catalogue is served; what is not given is the model's own."""

    model: str = Field(description="Catalogue identifier of the model that is served here.")
    provider: str = Field(default="", description="Provider; empty: the model's.")
    upstream: str = Field(default="", description="The provider's name for it; empty: the model's.")
    region: str = Field(default="", description="Region (Vertex, Bedrock); empty: the provider's.")
    base_url: str = Field(default="", description="Address; empty: the provider's.")
    api_key: SecretStr = Field(default=NONE, description="Key; empty: the provider's.")
    weight: float = Field(default=1.0, gt=0, le=1000, description="Its share of new calls.")
    concurrency: int | None = Field(
        default=None, ge=1, description="Calls at once; more wait in a queue. Empty: no limit."
    )


class QueueSettings(Group):
    """Calls that wait for a deployment whose concurrency is full."""

    most: int = Field(default=256, ge=0, description="Waiting calls of a deployment; more get 429.")
    wait_s: float = Field(default=5.0, gt=0, description="Longest wait; then 429.")


class ExactCacheSettings(Group):
    """Answers to identical calls of one tenant, at temperature 0, and embeddings."""

    enabled: bool = Field(default=False, description="Keep answers and give them again.")
    life_s: float = Field(default=300.0, gt=0, description="How long an answer is kept.")
    bytes: int = Field(default=32 * 1024 * 1024, ge=1024, description="Most bytes of answers.")


class RoutingSettings(Group):
    """Which deployment serves a call."""

    deployments: dict[str, DeploymentSettings] = Field(
        default={}, description="Name -> where a model is served; replaces the model's own list."
    )
    tries: int = Field(
        default=4, ge=1, le=16, description="Most deployments that one call is tried on."
    )
    floor: bool = Field(
        default=True, description="The local completer answers when all else has failed."
    )
    affinity: bool = Field(
        default=True, description="Calls go where the beginning of their prompt may be cached."
    )
    second_worth_usd: float = Field(
        default=0.001, ge=0, description="What a second of waiting is worth against a cold cache."
    )
    hedge: bool = Field(
        default=False, description="Ask a second deployment when a completion is slow."
    )
    queue: QueueSettings = QueueSettings()
    exact_cache: ExactCacheSettings = ExactCacheSettings()
