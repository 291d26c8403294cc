"""The one settings tree, for both listeners. Only this file reads the environment.

Order, later wins: defaults, file, environment (operators' names, then `ISTHMUS_*`), flags.
Variables may also stand in the nearest `.env` upward of the working directory; real ones win.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from isthmus.core import dotenv
from isthmus.settings_gateway import (
    EventsSettings,
    EventStream,
    GatewaySettings,
    QuotaSettings,
    SearchSettings,
)
from isthmus.settings_group import NONE, Group
from isthmus.settings_instance import InstanceSettings, OidcSettings, RelaySettings
from isthmus.settings_instances import InstanceModels, ListedInstance, listed
from isthmus.settings_limits import LimitsSettings
from isthmus.settings_mcp import McpServer, McpSettings
from isthmus.settings_platform import BudgetSettings, PlatformSettings, ScanSettings
from isthmus.settings_redaction import RedactionSettings
from isthmus.settings_routing import DeploymentSettings, RoutingSettings
from isthmus.settings_runners import RunnersSettings
from isthmus.settings_secrets import SUFFIX
from isthmus.settings_sources import Reading, SettingsError, by_variable, secret_behind
from isthmus.settings_telemetry import ReloadSettings, TracingSettings
from isthmus.settings_upstream import (
    AnthropicSettings,
    AzureSettings,
    BedrockSettings,
    EngineLimit,
    FireworksSettings,
    LocalSettings,
    MistralSettings,
    ModelsSettings,
    OpenAISettings,
    OutboundSettings,
    ProvidersSettings,
    ScriptedSettings,
    VertexSettings,
)
from isthmus.settings_usage import UsageSettings

__all__ = [
    "AnthropicSettings",
    "AuthSettings",
    "AzureSettings",
    "BedrockSettings",
    "BudgetSettings",
    "DatabaseSettings",
    "DeploymentSettings",
    "DrainSettings",
    "EngineLimit",
    "EventStream",
    "EventsSettings",
    "FireworksSettings",
    "GatewaySettings",
    "GrpcSettings",
    "HttpSettings",
    "InstanceModels",
    "InstanceSettings",
    "LimitsSettings",
    "ListedInstance",
    "LocalSettings",
    "LoggingSettings",
    "McpServer",
    "McpSettings",
    "MistralSettings",
    "ModelsSettings",
    "OidcSettings",
    "OpenAISettings",
    "OutboundSettings",
    "PlatformSettings",
    "ProvidersSettings",
    "QuotaSettings",
    "RedactionSettings",
    "RelaySettings",
    "ReloadSettings",
    "RoutingSettings",
    "RunnersSettings",
    "ScanSettings",
    "ScriptedSettings",
    "SearchSettings",
    "Settings",
    "SettingsError",
    "Source",
    "TlsSettings",
    "TracingSettings",
    "UsageSettings",
    "VertexSettings",
    "environment",
    "load",
    "read",
]

Transport = Literal["http", "grpc"]
FILE_NAME = "isthmus.yml"


class TlsSettings(Group):
    """TLS of a listener."""

    enabled: bool = Field(default=False, description="Serve TLS.")
    cert_file: Path | None = Field(default=None, description="Certificate chain, PEM.")
    key_file: Path | None = Field(default=None, description="Private key of the certificate, PEM.")
    client_auth: Literal["none", "optional", "required"] = Field(
        default="none",
        description="Whether clients are asked for a certificate; `optional` is for HTTP alone.",
    )
    client_ca_file: Path | None = Field(
        default=None, description="Authorities of the clients' certificates, PEM."
    )

    @model_validator(mode="after")
    def _files_exist(self) -> "TlsSettings":
        asks = self.client_auth != "none"
        if asks and not self.enabled:
            raise ValueError("`client_auth` needs TLS to be enabled")
        files = {"cert_file": self.cert_file, "key_file": self.key_file}
        if asks:
            files["client_ca_file"] = self.client_ca_file
        for name, path in files.items() if self.enabled else ():
            if path is None or not path.is_file():
                raise ValueError(f"when TLS is enabled, `{name}` must name an existing file")
        return self


class HttpSettings(Group):
    """The HTTP listener: gateway, health and documentation."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=5052, ge=0, le=65535, description="Port; 0 takes any free one.")
    metrics_host: str = Field(default="127.0.0.1", description="Address of the metrics listener.")
    metrics_port: int | None = Field(
        default=8082, ge=0, le=65535, description="Port of the metrics listener; empty for none."
    )
    body_limit_bytes: int = Field(
        default=8 * 1024 * 1024,
        ge=1024,
        description="Largest request body; more is answered with 413.",
    )
    docs_url: str | None = Field(default=None, description="Path of the API documentation page.")
    openapi_url: str | None = Field(default=None, description="Path of the OpenAPI document.")
    redoc_url: str | None = Field(
        default=None, description="Path of the second documentation page."
    )
    trusted_proxies: tuple[str, ...] = Field(
        default=(),
        description="Addresses and networks of proxies whose `X-Forwarded-For` is believed.",
    )
    tls: TlsSettings = TlsSettings()


class GrpcSettings(Group):
    """The gRPC listener of the agent platform."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=50052, ge=0, le=65535, description="Port; 0 takes any free one.")
    metrics_host: str = Field(default="127.0.0.1", description="Address of the metrics listener.")
    metrics_port: int | None = Field(
        default=8083, ge=0, le=65535, description="Port of the metrics listener; empty for none."
    )
    reflection: bool = Field(
        default=False, description="Answer gRPC reflection, without authentication."
    )
    tls: TlsSettings = TlsSettings()

    @field_validator("tls")
    @classmethod
    def _asks_all_or_none(cls, value: TlsSettings) -> TlsSettings:
        if value.client_auth == "optional":
            raise ValueError("`client_auth` of gRPC is `none` or `required`")
        return value


class AuthSettings(Group):
    """Who may call: issuers of tokens, our own signing keys, and the development bypasses."""

    enabled: bool = Field(
        default=True, description="Off: every call to the agent platform runs as a debug user."
    )
    service_name: str = Field(
        default="gitlab-ai-gateway", description="Audience of HTTP tokens, and issuer of our own."
    )
    platform_service_name: str = Field(
        default="gitlab-duo-workflow-service", description="The same for the agent platform."
    )
    issuers: tuple[str, ...] = Field(
        default=(), description="Further issuers whose keys are found by OIDC discovery."
    )
    gitlab_url: str = Field(
        default="", description="Issuer: the GitLab instance. Empty: none is called."
    )
    customer_portal_url: str = Field(
        default="", description="Issuer: the customer portal. Empty: none is called."
    )
    platform_gitlab_url: str = Field(
        default="", description="The instance, for the agent platform."
    )
    platform_customer_portal_url: str = Field(
        default="", description="The portal, for the agent platform."
    )
    signing_key: SecretStr = Field(
        default=NONE, description="RSA private key, PEM: signs our tokens, verifies them."
    )
    validation_key: SecretStr = Field(
        default=NONE, description="RSA key, PEM, that is also accepted while keys rotate."
    )
    platform_signing_key: SecretStr = Field(
        default=NONE, description="The signing key of the agent platform."
    )
    platform_validation_key: SecretStr = Field(
        default=NONE, description="The second accepted key of the agent platform."
    )
    bypass_external: bool = Field(
        default=False,
        description="Development only: every HTTP call is an all-powerful debug user.",
    )
    bypass_external_with_header: bool = Field(
        default=False, description="Development only: the same for calls with `Bypass-Auth: true`."
    )
    bypass_jwt_signature: bool = Field(
        default=False, description="Development only: signatures of tokens are not checked."
    )
    keys_max_age_s: float = Field(
        default=86_400.0, gt=0, description="How long fetched keys are fresh."
    )
    keys_timeout_s: float = Field(default=10.0, gt=0, description="Time limit of a fetch of keys.")
    token_cache_size: int = Field(
        default=10_000, ge=0, description="Verified tokens kept until they end."
    )


class DatabaseSettings(Group):
    """Records and checkpoints."""

    url: SecretStr = Field(default=NONE, description="Empty: the SQLite file in `data_dir`.")
    migrate: bool = Field(
        default=True,
        description="Bring the schema up to date at start; on PostgreSQL by its `pre` steps alone.",
    )
    pool_size: int = Field(default=10, ge=1, description="Connections to PostgreSQL.")


class LoggingSettings(Group):
    """The log."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        default="INFO", description="The lowest level that is written."
    )
    json_lines: bool = Field(default=True, description="JSON lines; off: text for people.")
    file: Path | None = Field(default=None, description="Append here instead of writing to stderr.")
    payloads: bool = Field(
        default=False, description="Log prompts and answers; replies name bad fields."
    )
    access: bool = Field(default=True, description="One line for each request that was answered.")

    @field_validator("level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value


class DrainSettings(Group):
    """How the server stops."""

    notice_s: float = Field(default=0.0, ge=0, description="Wait between not ready and the drain.")
    deadline_s: float = Field(default=10.0, ge=0, description="Limit to finish what is running.")


class Settings(Group):
    """Everything that can be set. Frozen after start."""

    transports: tuple[Transport, ...] = Field(
        default=("http", "grpc"), min_length=1, description="Listeners of this process."
    )
    workers: int = Field(default=1, ge=1, le=64, description="Processes that share the listeners.")
    data_dir: Path = Field(default=Path("var"), description="Folder of what must be kept.")
    environment: str = Field(default="production", description="Label in logs and telemetry.")
    http: HttpSettings = HttpSettings()
    grpc: GrpcSettings = GrpcSettings()
    auth: AuthSettings = AuthSettings()
    database: DatabaseSettings = DatabaseSettings()
    providers: ProvidersSettings = ProvidersSettings()
    outbound: OutboundSettings = OutboundSettings()
    models: ModelsSettings = ModelsSettings()
    routing: RoutingSettings = RoutingSettings()
    gateway: GatewaySettings = GatewaySettings()
    quota: QuotaSettings = QuotaSettings()
    events: EventsSettings = EventsSettings()
    search: SearchSettings = SearchSettings()
    platform: PlatformSettings = PlatformSettings()
    mcp: McpSettings = McpSettings()
    instance: InstanceSettings = InstanceSettings()
    instances: dict[str, ListedInstance] = Field(
        default={},
        description="GitLab instances that share this server, by name; `docs/guide/connect.md`.",
    )
    runners: RunnersSettings = RunnersSettings()
    limits: LimitsSettings = LimitsSettings()
    redaction: RedactionSettings = RedactionSettings()
    logging: LoggingSettings = LoggingSettings()
    tracing: TracingSettings = TracingSettings()
    reload: ReloadSettings = ReloadSettings()
    usage: UsageSettings = UsageSettings()
    drain: DrainSettings = DrainSettings()

    @field_validator("instances", mode="before")
    @classmethod
    def _instances_tell_their_faults(cls, value: object) -> object:
        return listed(value)

    @model_validator(mode="after")
    def _is_built(self) -> "Settings":
        # Said at start: a setting without effect would be found out in production.
        asked = {
            "workers": self.workers > 1,
        }
        for name, wanted in asked.items():
            if wanted:
                raise ValueError(f"`{name}` is not supported yet; leave it at its default")
        return self

    @model_validator(mode="after")
    def _strangers_run_nothing_here_unasked(self) -> "Settings":
        told = "kind" in self.runners.model_fields_set
        if self.instance.oidc.issuer and self.runners.kind == "subprocess" and not told:
            raise ValueError(
                "`runners.kind` must be set where people sign in at a provider (`instance.oidc`): "
                "the default lets each of them run commands on this machine"
            )
        return self


def environment() -> dict[str, str]:
    """The process's environment: what a program that we start may inherit, once it is scrubbed."""
    return dict(os.environ)  # noqa: TID251 - this is the one place that reads the environment


def load(
    file: Path | None = None,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings in force. Raises SettingsError; arguments as in `read`."""
    return read(file, flags, environ)[0]


def read(
    file: Path | None = None,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[Settings, dict[str, str]]:
    """The settings, and for each path that was set the source of its value.

    `file` wins over the variable ISTHMUS_CONFIG, that over `isthmus.yml` in the working directory.
    `flags` are values by path, such as `{"transports": "http,grpc"}`; None is a flag not given.
    With `environ` given, neither the process's environment nor a `.env` file is looked at.
    """
    layers = [(environ, "")] if environ is not None else [*_dotenv(), (_process(), "")]
    path, source = _file(layers, file, here=environ is None)
    reading = Reading(Settings)
    if path is not None and (source or path.is_file()):
        reading.file(path, source or "in the working directory")
    reading.variables(layers)
    reading.flags(flags or {})
    return reading.finish(), reading.sources


@dataclass(frozen=True, slots=True)
class Source:
    """Where this process has its settings from: `file` and `flags` as in `read`."""

    file: Path | None = None
    flags: Mapping[str, object] = field(default_factory=dict[str, object])

    def read(self) -> Settings:
        """The settings as they are written now. Raises SettingsError."""
        return load(self.file, self.flags)

    def files(self) -> tuple[Path, ...]:
        """The files in which they are written, or would be."""
        try:
            layers = [*_dotenv(), (_process(), "")]
            path, _ = _file(layers, self.file, here=True)
        except SettingsError:
            layers, path = [(_process(), "")], self.file
        given = {name.upper(): value for layer, _ in layers for name, value in layer.items()}
        secrets = [Path(value) for name, value in given.items() if value and _is_secret_file(name)]
        found = [path.absolute()] if path is not None else []
        return (*found, *secrets, _dotenv_file() or Path.cwd() / ".env")


@cache
def _is_secret_file(name: str) -> bool:
    return bool(name.endswith(SUFFIX) and secret_behind(name, by_variable(Settings)))


def _process() -> Mapping[str, str]:
    return os.environ  # noqa: TID251 - this is the one place that reads the environment


def _file(
    layers: Sequence[tuple[Mapping[str, str], str]], file: Path | None, *, here: bool
) -> tuple[Path | None, str]:
    """The YAML file and who named it; with `here`, nobody needs to."""
    if file is not None:
        return file, "flag --config"
    found, source = (Path(FILE_NAME), "") if here else (None, "")
    for variables, place in layers:
        if variables.get("ISTHMUS_CONFIG"):
            found, source = Path(variables["ISTHMUS_CONFIG"]), f"variable ISTHMUS_CONFIG{place}"
    return found, source


def _dotenv() -> Iterator[tuple[Mapping[str, str], str]]:
    """The nearest `.env`, if there is one that can be read."""
    path = _dotenv_file()
    if path is not None:
        try:
            with path.open(encoding="utf-8") as stream:
                yield dotenv.read(stream.read(dotenv.LIMIT_CHARS)), f" in {path}"
        except (OSError, UnicodeDecodeError):
            raise SettingsError(f"{path}: cannot be read") from None


def _dotenv_file() -> Path | None:
    """The nearest `.env` upward of the working directory."""
    here = Path.cwd()
    paths = (folder / ".env" for folder in (here, *here.parents))
    return next((path for path in paths if path.is_file()), None)
