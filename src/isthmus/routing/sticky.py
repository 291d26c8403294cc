"""Which model a session gets, and the text by which it gets the same one again.

A feature may have several defaults; one of them is drawn for each session, and named in a text
that comes back with every later turn. The text holds no secret.
Source: agent-platform contract, section 6.6; instance contract, section 2.5.
"""

from dataclasses import dataclass, replace

import msgspec

from isthmus.core.errors import NotBuilt, NotFound, Rejected, Unavailable
from isthmus.core.messages import ModelChoice, ModelMetadata
from isthmus.routing.models import SEVERAL_DEFAULTS, Models
from isthmus.routing.resolve import OURS

MAX_TEXT_CHARS = 1024
_DRAWN = (SEVERAL_DEFAULTS,)


@dataclass(frozen=True, slots=True)
class Picked:
    """A model. `text` stands for it from now on, empty when no text can.

    `gone` names the model that was meant and cannot serve any more.
    """

    choice: ModelChoice
    text: str
    gone: str = ""


def pick(models: Models, wanted: ModelMetadata | None, feature: str) -> Picked:
    """The model that `wanted` means, else one of the feature's defaults.

    A server of the operator's gets its key back here, for texts hold none. Raises NotFound for an
    unknown feature, Unavailable when none of its models can serve.
    """
    if wanted is None:
        choice = models.resolve(None, feature, _DRAWN)
        return Picked(choice, _text(choice.id))
    if wanted.endpoint and not wanted.api_key:
        wanted = replace(wanted, api_key=models.key_of(wanted.endpoint))
    try:
        choice = models.resolve(wanted, feature, _DRAWN)
    except (NotBuilt, NotFound, Rejected, Unavailable):
        choice = models.resolve(None, feature, _DRAWN)
        return Picked(choice, _text(choice.id), wanted.name or wanted.identifier)
    if wanted.name and wanted.name != choice.id:
        return Picked(choice, _text(choice.id), wanted.name)
    return Picked(choice, _text(choice.id) if wanted.provider == OURS else _brought(wanted))


def _text(
    name: str, provider: str = OURS, endpoint: str | None = None, identifier: str | None = None
) -> str:
    named = {"name": name, "provider": provider, "endpoint": endpoint, "identifier": identifier}
    text = msgspec.json.encode(named).decode()
    return text if len(text) <= MAX_TEXT_CHARS else ""


def _brought(wanted: ModelMetadata) -> str:
    if "@" in wanted.endpoint or "?" in wanted.endpoint:
        # Such an address may carry a password.
        return ""
    endpoint, identifier = wanted.endpoint or None, wanted.identifier or None
    return _text(wanted.name, wanted.provider, endpoint, identifier)
