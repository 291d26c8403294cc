"""Vendors that speak OpenAI's wire with a bearer key, differing by manners alone."""

from isthmus.adapters.providers._spec import ProviderSpec
from isthmus.adapters.providers.dialects.openai import Manners, OpenAIDialect
from isthmus.adapters.providers.dialects.openai_embed import OpenAIEmbedDialect
from isthmus.adapters.providers.framing.sse import SseParser
from isthmus.adapters.providers.signing.api_key import ApiKey
from isthmus.settings import FireworksSettings, MistralSettings


def compatible(
    name: str, own: MistralSettings | FireworksSettings, manners: Manners
) -> ProviderSpec:
    """The provider's parts; configured by a key, or a base URL of the operator's own."""
    base_url = own.base_url.rstrip("/")
    public = str(type(own).model_fields["base_url"].default)
    return ProviderSpec(
        name=name,
        base_url=base_url,
        dialect=OpenAIDialect(own=False, completions=True, manners=manners),
        framing=SseParser,
        signer=ApiKey(own.api_key, "authorization", "Bearer "),
        forward_paths=frozenset(),
        forward_headers=frozenset(),
        configured=bool(own.api_key.get_secret_value()) or base_url != public,
        embed=OpenAIEmbedDialect(),
        drain_s=own.drain_s,
    )
