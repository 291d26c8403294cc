"""The branches of the settings tree that say what is seen from outside, and when they are read."""

from pydantic import Field, SecretStr, field_validator

from isthmus.settings_group import Group, sendable


class TracingSettings(Group):
    """Spans of requests, sessions, model calls and tools, sent by OTLP over HTTP."""

    enabled: bool = Field(default=False, description="Send spans to a collector.")
    endpoint: str = Field(
        default="http://127.0.0.1:4318",
        description="The collector; spans go to `/v1/traces` there, as JSON.",
    )
    headers: dict[str, SecretStr] = Field(
        default={}, description="Headers for the collector, such as its key."
    )
    service: str = Field(default="isthmus", description="`service.name` of the spans.")
    share: float = Field(
        default=1.0, ge=0, le=1, description="Part of the traces begun here that is sent."
    )
    believe: bool = Field(
        default=True, description="Go on with a caller's `traceparent`, and with its choice."
    )
    to_providers: bool = Field(default=False, description="Send `traceparent` to model providers.")
    batch_size: int = Field(default=512, ge=1, le=8_192, description="Spans of one request.")
    queue_limit: int = Field(default=8_192, ge=1, description="Spans that may wait to be sent.")

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        return sendable(headers)


class ReloadSettings(Group):
    """When the settings are read again. SIGHUP always has them read."""

    watch_s: float = Field(
        default=5.0, ge=0, description="How often their files are looked at; 0: never."
    )
