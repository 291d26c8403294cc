"""The branch of the settings tree for sessions of the agent platform."""

from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from isthmus.settings_group import NONE, Group


class ScanSettings(Group):
    """What searches the results of tools for texts that give orders to a model."""

    engine: Literal["none", "rules", "service"] = Field(
        default="rules",
        description="What searches them: nothing, the patterns that come with the server, or the "
        "service at `url`. Sessions are searched when their flag `ai_prompt_scanning` is on.",
    )
    url: str = Field(default="", description="The service; `docs/guide/security.md` has its wire.")
    token: SecretStr = Field(default=NONE, description="Bearer token for the service.")
    timeout_s: float = Field(
        default=5.0, gt=0, le=60, description="Limit of one search; the result passes after it."
    )
    concurrency: int = Field(default=8, ge=1, le=256, description="Searches at once.")

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must be an http(s) URL")
        return value


class BudgetSettings(Group):
    """What one session may use of models, over all its turns, subagents and summaries included."""

    tokens: int = Field(
        default=0,
        ge=0,
        le=10**15,
        description="Tokens of one session, read and written; 0: no limit.",
    )
    cost: float = Field(
        default=0.0,
        ge=0,
        le=1e9,
        description="US dollars of one session, by the models' prices; 0: no limit. A model that "
        "has no price costs nothing here.",
    )


class PlatformSettings(Group):
    """Sessions of the agent platform."""

    url: str = Field(
        default="", description="Another process that runs the sessions; empty: this one."
    )
    secure: bool = Field(default=True, description="Whether that other process is reached by TLS.")
    records: Literal["auto", "embedded", "instance"] = Field(
        default="auto",
        description="Where sessions keep their records: here, or at their GitLab instance through "
        "their clients; auto: there when `auth.gitlab_url` names one.",
    )
    max_sessions: int = Field(default=500, ge=1, description="Sessions at once in this process.")
    max_steps: int = Field(default=600, ge=1, description="Steps of one session's turn.")
    model_retries: int = Field(
        default=3,
        ge=0,
        le=3,
        description="How often a session asks a model again whose provider is in trouble: after "
        "3, 9 and 27 seconds; 0: never.",
    )
    session_s: float = Field(default=3_600.0, gt=0, description="Limit of one session's turn.")
    action_s: float = Field(
        default=600.0, gt=0, description="Limit of one action at the client, a program's run say."
    )
    quick_action_s: float = Field(
        default=120.0,
        gt=0,
        description="Limit of an action that runs nothing: files, searches, calls of the instance.",
    )
    heartbeat_s: float = Field(
        default=300.0,
        ge=0,
        description="A client that sent a heartbeat is gone after this much silence; 0: never.",
    )
    idle_s: float = Field(
        default=1_800.0, ge=0, description="The same of every client, until it sends one; 0: never."
    )
    prune_after_days: int = Field(
        default=0,
        ge=0,
        description="Sessions that nobody touched for so long lose steps that nobody can go back "
        "to; 0: never.",
    )
    budgets: BudgetSettings = BudgetSettings()
    message_limit_bytes: int = Field(
        default=4 * 1024 * 1024, ge=65_536, description="Largest message of a session, both ways."
    )
    scan: ScanSettings = ScanSettings()

    @model_validator(mode="after")
    def _a_service_has_an_address(self) -> "PlatformSettings":
        if self.scan.engine == "service" and not self.scan.url:
            raise ValueError("`scan.engine` service needs `scan.url`")
        return self
