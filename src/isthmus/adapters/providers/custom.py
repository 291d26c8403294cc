"""Servers that speak OpenAI's wire and are named by the caller, call by call."""

from pydantic import SecretStr

from isthmus.adapters.providers._http import HttpProvider, Tries
from isthmus.adapters.providers._spec import ProviderFactory, ProviderSpec
from isthmus.adapters.providers.dialects.openai import OpenAIDialect
from isthmus.adapters.providers.dialects.openai_embed import OpenAIEmbedDialect
from isthmus.adapters.providers.framing.sse import SseParser
from isthmus.adapters.providers.signing.api_key import ApiKey
from isthmus.core.ports import Clock, Outbound
from isthmus.settings import OutboundSettings, ProvidersSettings


def build(
    _settings: ProvidersSettings, outbound: Outbound, clock: Clock, limits: OutboundSettings
) -> HttpProvider:
    """The provider; never configured, because every call brings its target."""
    spec = ProviderSpec(
        name="custom",
        base_url="",
        dialect=OpenAIDialect(own=False, completions=True),
        framing=SseParser,
        signer=ApiKey(SecretStr(""), "authorization", "Bearer "),
        forward_paths=frozenset(),
        forward_headers=frozenset(),
        configured=False,
        embed=OpenAIEmbedDialect(),
    )
    return HttpProvider(spec, outbound, clock, Tries(limits.retries))


PROVIDER = ProviderFactory(build)
