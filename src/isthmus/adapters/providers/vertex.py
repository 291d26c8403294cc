"""Google Vertex AI: Gemini, Anthropic's models, Codestral and text embeddings, and their proxy."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

from msgspec.structs import replace

from isthmus.adapters.providers._http import HttpProvider, Tries
from isthmus.adapters.providers._spec import ProviderFactory, ProviderSpec, Signer
from isthmus.adapters.providers.dialects.vertex import (
    ELSEWHERE,
    VertexDialect,
    forwarded,
    home_of,
    model_path,
    root_of,
)
from isthmus.adapters.providers.dialects.vertex_embed import VertexEmbedDialect, batches
from isthmus.adapters.providers.framing.sse import SseParser
from isthmus.adapters.providers.signing.google import (
    Credential,
    GoogleToken,
    UnusableCredential,
    read_credential,
)
from isthmus.core.deadline import Deadline
from isthmus.core.messages import (
    Delta,
    EmbedCall,
    Embeddings,
    Gathering,
    ModelCall,
    RawCall,
    RawReply,
    Usage,
)
from isthmus.core.ports import Clock, Outbound
from isthmus.settings import OutboundSettings, ProvidersSettings, SettingsError, VertexSettings

NAME = "vertex"
GLOBAL = "global"


class VertexProvider:
    """Implements `ModelProvider`: a model is called where it stands.

    `home` has the location of the settings; `elsewhere` serves models that `home` does not have.
    """

    def __init__(self, home: HttpProvider, elsewhere: HttpProvider) -> None:
        self._home = home
        self._elsewhere = elsewhere

    @property
    def name(self) -> str:
        """The provider's name in settings and in the catalogue."""
        return self._home.name

    @property
    def configured(self) -> bool:
        """Whether there are a project and a credential."""
        return self._home.configured

    @property
    def forward_headers(self) -> frozenset[str]:
        """The caller's headers, in lower case, that `forward` passes on."""
        return self._home.forward_headers

    def forwards(self, path: str) -> bool:
        """Whether `forward` takes this path (query included)."""
        return self._home.forwards(path)

    def forward(self, raw: RawCall, deadline: Deadline) -> AbstractAsyncContextManager[RawReply]:
        """The publisher's own wire, byte for byte, in our project and location."""
        return self._at(raw.model).forward(raw, deadline)

    def stream(self, call: ModelCall, deadline: Deadline) -> AsyncIterator[Delta]:
        """The model's answer as it is produced."""
        return self._at(call.model).stream(call, deadline)

    async def whole(self, call: ModelCall, deadline: Deadline, into: Gathering) -> None:
        """As `stream`, for who reads the answer at its end."""
        await self._at(call.model).whole(call, deadline, into)

    async def embed(self, call: EmbedCall, deadline: Deadline) -> Embeddings:
        """One vector a text; more texts than a request may hold go in several."""
        vectors: list[Sequence[float]] = []
        tokens = 0
        for texts in batches(call.model, call.texts):
            got = await self._at(call.model).embed(replace(call, texts=texts), deadline)
            vectors += got.vectors
            tokens += got.usage.input_tokens if got.usage is not None else 0
        return Embeddings(tuple(vectors), Usage(input_tokens=tokens))

    def _at(self, model: str) -> HttpProvider:
        return self._home if home_of(model).everywhere else self._elsewhere


def build(
    settings: ProvidersSettings, outbound: Outbound, clock: Clock, limits: OutboundSettings
) -> VertexProvider:
    """The provider. Raises SettingsError when its credential cannot be used."""
    own = settings.vertex
    credential = _credential(own) if own.project else None
    signer = GoogleToken(credential, outbound, clock)
    tries = Tries(limits.retries)

    def at(location: str) -> HttpProvider:
        spec = _spec(own, location, signer, configured=credential is not None)
        return HttpProvider(spec, outbound, clock, tries)

    home = at(own.location)
    # A server that the operator names is asked for everything.
    move = own.location == GLOBAL and not own.endpoint
    return VertexProvider(home, at(ELSEWHERE) if move else home)


def _spec(own: VertexSettings, location: str, signer: Signer, *, configured: bool) -> ProviderSpec:
    root = root_of(own.project, location)
    base_url = _base_url(own.endpoint, location)

    def url_of(path: str) -> str | None:
        found = forwarded(path, root)
        return None if found is None else base_url + found

    return ProviderSpec(
        name=NAME,
        base_url=base_url,
        dialect=VertexDialect(root),
        framing=SseParser,
        signer=signer,
        forward_paths=frozenset(),
        forward_headers=frozenset({"content-type"}),
        configured=configured,
        forward_url=url_of,
        embed=VertexEmbedDialect(partial(model_path, root, action="predict")),
        drain_s=own.drain_s,
    )


def _base_url(endpoint: str, location: str) -> str:
    if endpoint:
        return (endpoint if "://" in endpoint else f"https://{endpoint}").rstrip("/")
    prefix = "" if location == GLOBAL else f"{location}-"
    return f"https://{prefix}aiplatform.googleapis.com"


def _credential(own: VertexSettings) -> Credential | None:
    # Operators' files wrap the text in single quotes.
    text = own.credentials.get_secret_value().strip().strip("'")
    try:
        if text:
            return read_credential(text, own.token_url)
        if own.credentials_file is None:
            return None
        return read_credential(own.credentials_file.read_bytes(), own.token_url)
    except UnusableCredential as error:
        name = "credentials" if text else "credentials_file"
        raise SettingsError(f"providers.vertex.{name}: {error}") from None
    except OSError as error:
        raise SettingsError(
            f"providers.vertex.credentials_file: cannot be read: {error.strerror}"
        ) from error


PROVIDER = ProviderFactory(build)
