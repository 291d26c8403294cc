"""Mistral: chat, and Codestral's fill-in-the-middle.

Source: Mistral API reference, "Chat completion" and "Fill-in-the-middle completion".
"""

import re
from hashlib import sha256

from isthmus.adapters.providers._compatible import compatible
from isthmus.adapters.providers._http import HttpProvider, Tries
from isthmus.adapters.providers._spec import ProviderFactory
from isthmus.adapters.providers.dialects.openai import Manners
from isthmus.core.ports import Clock, Outbound
from isthmus.settings import OutboundSettings, ProvidersSettings

_CALL_ID = re.compile(r"[a-zA-Z0-9]{9}")


def call_id(given: str) -> str:
    """The id of a tool call as Mistral wants it: nine letters or digits, the same for the same.

    A conversation that began with another vendor's model has ids of another form.
    """
    return given if _CALL_ID.fullmatch(given) else sha256(given.encode()).hexdigest()[:9]


# Unknown fields are refused here, and usage comes unasked.
MANNERS = Manners(counts=False, top_k=False, infill="/fim/completions", call_id=call_id)


def build(
    settings: ProvidersSettings, outbound: Outbound, clock: Clock, limits: OutboundSettings
) -> HttpProvider:
    """The provider; configured by a key, or a base URL of the operator's own."""
    spec = compatible("mistral", settings.mistral, MANNERS)
    return HttpProvider(spec, outbound, clock, Tries(limits.retries))


PROVIDER = ProviderFactory(build)
