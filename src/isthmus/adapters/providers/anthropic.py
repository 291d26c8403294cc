"""Anthropic: the Messages API and its proxy paths."""

from isthmus.adapters.providers._http import HttpProvider, Tries
from isthmus.adapters.providers._spec import ProviderFactory, ProviderSpec
from isthmus.adapters.providers.dialects.anthropic import AnthropicDialect
from isthmus.adapters.providers.framing.sse import SseParser
from isthmus.adapters.providers.signing.api_key import ApiKey
from isthmus.core.ports import Clock, Outbound
from isthmus.settings import AnthropicSettings, OutboundSettings, ProvidersSettings

VERSION = "2023-06-01"
_PUBLIC = str(AnthropicSettings().base_url)


def build(
    settings: ProvidersSettings, outbound: Outbound, clock: Clock, limits: OutboundSettings
) -> HttpProvider:
    """The provider; configured by a key, or a base URL of the operator's own."""
    own = settings.anthropic
    base_url = own.base_url.rstrip("/")
    spec = ProviderSpec(
        name="anthropic",
        base_url=base_url,
        dialect=AnthropicDialect(),
        framing=SseParser,
        signer=ApiKey(own.api_key, "x-api-key"),
        forward_paths=frozenset(
            {
                "/v1/messages",
                "/v1/messages?beta=true",
                "/v1/messages/count_tokens",
                "/v1/messages/count_tokens?beta=true",
            }
        ),
        forward_headers=frozenset(
            {"accept", "content-type", "anthropic-version", "anthropic-beta"}
        ),
        configured=bool(own.api_key.get_secret_value()) or base_url != _PUBLIC,
        headers=(("anthropic-version", VERSION),),
        drain_s=own.drain_s,
    )
    return HttpProvider(spec, outbound, clock, Tries(limits.retries))


PROVIDER = ProviderFactory(build)
