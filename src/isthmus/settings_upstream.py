"""The branches of the settings tree that say whom we call: providers, trust, models."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, model_validator

from isthmus.settings_group import NONE, Group

JsonObject = dict[str, Any]


class VendorSettings(Group):
    """What every provider over HTTP has."""

    drain_s: float = Field(
        default=0.0,
        ge=0,
        le=600,
        description="How long an answer is read on when its caller has left, for a provider that "
        "bills it anyway; 0 closes the connection at once.",
    )


class AnthropicSettings(VendorSettings):
    """The Anthropic API."""

    api_key: SecretStr = Field(default=NONE, description="Key; the provider is off without one.")
    base_url: str = Field(default="https://api.anthropic.com", description="Where the API is.")


class OpenAISettings(VendorSettings):
    """The OpenAI API, or any server that speaks it (vLLM, Ollama, llama.cpp)."""

    api_key: SecretStr = Field(default=NONE, description="Key; servers of your own may need none.")
    base_url: str = Field(default="https://api.openai.com/v1", description="Where the API is.")
    model: str = Field(
        default="", description="Model for chat; empty asks `/models` when `base_url` is your own."
    )
    completion_model: str = Field(
        default="", description="Model for completions; empty as in `model`."
    )


class AzureSettings(VendorSettings):
    """Azure OpenAI. A model's name there is the name of its deployment."""

    api_key: SecretStr = Field(default=NONE, description="Key of the resource.")
    base_url: str = Field(
        default="", description="The resource, as `https://NAME.openai.azure.com`; empty: off."
    )
    api_version: str = Field(
        default="2024-10-21", description="Version of the API that requests name."
    )


class VertexSettings(VendorSettings):
    """Google Vertex AI: Gemini, Anthropic's models there, Codestral, embeddings."""

    project: str = Field(default="", description="Google Cloud project; empty: off.")
    location: str = Field(default="global", description="Location of models; `global` or a region.")
    endpoint: str = Field(
        default="", description="Host or base URL of the API; empty: by `location`."
    )
    credentials_file: Path | None = Field(
        default=None, description="Service-account key, JSON; empty: none."
    )
    credentials: SecretStr = Field(
        default=NONE, description="The same key as text, instead of a file."
    )
    token_url: str = Field(
        default="", description="Where tokens are got; empty: where the key says."
    )


class BedrockSettings(VendorSettings):
    """AWS Bedrock. With a role, calls are signed with what the role gives."""

    access_key_id: SecretStr = Field(default=NONE, description="AWS access key.")
    secret_access_key: SecretStr = Field(default=NONE, description="Its secret.")
    session_token: SecretStr = Field(default=NONE, description="Of temporary credentials.")
    bearer_token: SecretStr = Field(
        default=NONE, description="A Bedrock API key, instead of AWS credentials."
    )
    region: str = Field(default="us-east-1", description="AWS region.")
    role_arn: str = Field(default="", description="Role that is assumed before calls.")
    base_url: str = Field(default="", description="Where the API is; empty: by `region`.")
    sts_url: str = Field(default="", description="Where roles are assumed; empty: by `region`.")
    guardrail: JsonObject = Field(
        default={},
        description="`guardrailIdentifier`, `guardrailVersion`, `trace`; empty: none.",
    )


class MistralSettings(VendorSettings):
    """Mistral's API, and Codestral's fill-in-the-middle."""

    api_key: SecretStr = Field(default=NONE, description="Key; the provider is off without one.")
    base_url: str = Field(default="https://api.mistral.ai/v1", description="Where the API is.")


class FireworksSettings(VendorSettings):
    """Fireworks."""

    api_key: SecretStr = Field(default=NONE, description="Key; the provider is off without one.")
    base_url: str = Field(
        default="https://api.fireworks.ai/inference/v1", description="Where the API is."
    )


class LocalSettings(Group):
    """What needs no account: the in-context completer, and embeddings."""

    enabled: bool = Field(
        default=True, description="Complete code without a model when none is set."
    )
    embeddings: bool = Field(
        default=True, description="Make embeddings here, where the extra is installed."
    )
    embedding_threads: int = Field(
        default=1, ge=1, le=64, description="Threads that make embeddings."
    )


class ScriptedSettings(Group):
    """The scripted model that stands in for sessions when no model is configured."""

    enabled: bool = Field(default=True, description="Offer the scripted tour when no model is set.")
    script: Path | None = Field(default=None, description="A script of your own.")
    pause_ms: int = Field(
        default=0, ge=0, le=60_000, description="Pause before each turn of the tour, to watch it."
    )


class ProvidersSettings(Group):
    """Model providers. One is configured when its key, or its own base URL, is set."""

    anthropic: AnthropicSettings = AnthropicSettings()
    openai: OpenAISettings = OpenAISettings()
    azure: AzureSettings = AzureSettings()
    vertex: VertexSettings = VertexSettings()
    bedrock: BedrockSettings = BedrockSettings()
    mistral: MistralSettings = MistralSettings()
    fireworks: FireworksSettings = FireworksSettings()
    local: LocalSettings = LocalSettings()
    scripted: ScriptedSettings = ScriptedSettings()


class OutboundSettings(Group):
    """Time limits of calls to providers, and the trust of every call that leaves the process."""

    connect_s: float = Field(default=5.0, gt=0, description="Limit to connect, TLS included.")
    first_byte_s: float = Field(
        default=60.0, gt=0, description="Limit to the first byte of an answer."
    )
    between_bytes_s: float = Field(
        default=60.0, gt=0, description="Limit of silence inside an answer."
    )
    completion_total_s: float = Field(
        default=60.0, gt=0, description="Limit of a whole completion."
    )
    chat_total_s: float = Field(default=600.0, gt=0, description="Limit of a whole chat answer.")
    proxy_total_s: float = Field(default=600.0, gt=0, description="Limit of a whole proxied call.")
    embed_total_s: float = Field(default=60.0, gt=0, description="Limit of a call for embeddings.")
    idle_connections: int = Field(default=256, ge=0, description="Idle connections kept for reuse.")
    idle_s: float = Field(default=30.0, gt=0, description="How long an idle connection is kept.")
    retries: int = Field(
        default=1, ge=0, le=5, description="Tries after the first, before any byte."
    )
    ca_file: Path | None = Field(
        default=None, description="Authorities to trust, PEM, or a directory; empty: the system's."
    )
    ca_only: bool = Field(
        default=False, description="Trust `ca_file` alone, not the system's certificates as well."
    )
    verify: bool = Field(default=True, description="Check certificates; off only in development.")
    client_cert_file: Path | None = Field(
        default=None, description="Our certificate for servers that ask for one, PEM."
    )
    client_key_file: Path | None = Field(
        default=None, description="Its key, PEM; empty: in the same file."
    )
    client_key_password: SecretStr = Field(default=NONE, description="Password of that key.")
    proxy_url: SecretStr = Field(
        default=NONE, description="HTTP proxy for calls by TLS, as `http://host:3128`."
    )
    no_proxy: tuple[str, ...] = Field(
        default=(), description="Hosts and domains that are called without the proxy."
    )

    @model_validator(mode="after")
    def _files_exist(self) -> "OutboundSettings":
        files = (
            ("client_cert_file", self.client_cert_file),
            ("client_key_file", self.client_key_file),
        )
        for name, path in files:
            if path is not None and not path.is_file():
                raise ValueError(f"`{name}` must name an existing file")
        if self.ca_file is not None and not self.ca_file.exists():
            raise ValueError("`ca_file` must name an existing file")
        if self.ca_only and self.ca_file is None:
            raise ValueError("`ca_only` needs a `ca_file`")
        return self


class EngineLimit(Group):
    """Published limits of one model of one engine; shown as gauges."""

    concurrency: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None


class ModelsSettings(Group):
    """Which models serve which feature, and what callers may choose."""

    defaults: dict[str, tuple[str, ...]] = Field(
        default={}, description="Feature setting -> catalogue identifiers, the preferred one first."
    )
    params: dict[str, JsonObject] = Field(
        default={}, description="Catalogue identifier -> client parameters laid over its own."
    )
    custom_enabled: bool = Field(default=False, description="Requests may name a model endpoint.")
    custom_headers: dict[str, str] = Field(
        default={}, description="Headers that calls to custom endpoints carry."
    )
    chat_max_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Cap on the output of every prompt whose id begins with `chat/`."
    )
    chat_timeout_s: float = Field(
        default=30.0, gt=0, description="Limit to the first byte of a chat prompt's answer."
    )
    engine_limits: dict[str, dict[str, EngineLimit]] = Field(
        default={}, description="Engine -> model -> limits that are published as gauges."
    )
    mock: bool = Field(default=False, description="Development only: models answer with `mock`.")
