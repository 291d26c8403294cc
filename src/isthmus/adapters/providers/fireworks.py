"""Fireworks: chat and completions by OpenAI's wire.

Requests of one session meet a warm prompt cache when the call's headers hold `x-session-affinity`.
Source: Fireworks documentation, "Prompt caching" and "OpenAI compatibility".
"""

from isthmus.adapters.providers._compatible import compatible
from isthmus.adapters.providers._http import HttpProvider, Tries
from isthmus.adapters.providers._spec import ProviderFactory
from isthmus.adapters.providers.dialects.openai import Manners
from isthmus.core.ports import Clock, Outbound
from isthmus.settings import OutboundSettings, ProvidersSettings


def named(model: str) -> str:
    """The full name of a model; a bare one is of Fireworks' own account."""
    return model if "/" in model else f"accounts/fireworks/models/{model}"


MANNERS = Manners(named=named)


def build(
    settings: ProvidersSettings, outbound: Outbound, clock: Clock, limits: OutboundSettings
) -> HttpProvider:
    """The provider; configured by a key, or a base URL of the operator's own."""
    spec = compatible("fireworks", settings.fireworks, MANNERS)
    return HttpProvider(spec, outbound, clock, Tries(limits.retries))


PROVIDER = ProviderFactory(build)
