"""Azure OpenAI: OpenAI's wire under a path for each deployment."""

from functools import partial
from urllib.parse import quote

from isthmus.adapters.providers._http import HttpProvider, Tries
from isthmus.adapters.providers._spec import ProviderFactory, ProviderSpec
from isthmus.adapters.providers.dialects.openai import Manners, OpenAIDialect
from isthmus.adapters.providers.dialects.openai_embed import OpenAIEmbedDialect
from isthmus.adapters.providers.framing.sse import SseParser
from isthmus.adapters.providers.signing.api_key import ApiKey
from isthmus.core.ports import Clock, Outbound
from isthmus.settings import OutboundSettings, ProvidersSettings


def manners(api_version: str) -> Manners:
    """Everything by deployment; a model's name is that of its deployment."""
    return Manners(newer=True, top_k=False, path=partial(_place, api_version))


def build(
    settings: ProvidersSettings, outbound: Outbound, clock: Clock, limits: OutboundSettings
) -> HttpProvider:
    """The provider; configured by the URL of a resource, since there is none for everybody."""
    own = settings.azure
    base_url = own.base_url.rstrip("/")
    mannered = manners(own.api_version)
    spec = ProviderSpec(
        name="azure",
        base_url=base_url,
        dialect=OpenAIDialect(own=True, completions=False, manners=mannered),
        framing=SseParser,
        signer=ApiKey(own.api_key, "api-key"),
        forward_paths=frozenset(),
        forward_headers=frozenset(),
        configured=bool(base_url),
        embed=OpenAIEmbedDialect(mannered.path),
        drain_s=own.drain_s,
    )
    return HttpProvider(spec, outbound, clock, Tries(limits.retries))


def _place(api_version: str, path: str, deployment: str) -> str:
    named = f"/openai/deployments/{quote(deployment, safe='')}{path}"
    return f"{named}?api-version={quote(api_version, safe='')}"


PROVIDER = ProviderFactory(build)
