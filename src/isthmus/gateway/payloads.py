"""Whether words that go to a model, or come from it, may be logged, and how; pure.

Source: HTTP gateway contract, section 10.4.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from isthmus.core.events import PayloadSeen
from isthmus.core.identity import ClientInfo
from isthmus.gateway.flags import EXPANDED_LOGGING, effective

MASK = "**********"
DEPTH_LIMIT = 6


@dataclass(frozen=True, slots=True)
class PayloadPolicy:
    """Whose payloads may be logged, and whose errors may name fields.

    `always`: everybody's. Else the client's instance must ask for it: by a header where it brings
    models of its own (`custom_models`), elsewhere by a feature flag that is not `barred`.
    """

    always: bool = False
    custom_models: bool = False
    barred: Mapping[str, Collection[str]] = field(default_factory=dict[str, Collection[str]])

    def allows(self, client: ClientInfo) -> bool:
        """Whether this request's may."""
        if self.always:
            return True
        if self.custom_models:
            return client.get("x-gitlab-enabled-instance-verbose-ai-logs") == "true"
        return EXPANDED_LOGGING in effective(client, self.barred)


NO_PAYLOADS = PayloadPolicy()


def seen(event: str, **payload: object) -> PayloadSeen:
    """The fact; values of `api_key` are masked wherever they stand."""
    masked = cast("Mapping[str, object]", _masked(payload, DEPTH_LIMIT))
    return PayloadSeen(event, tuple(masked.items()))


def _masked(value: object, depth: int) -> object:
    if isinstance(value, Mapping):
        held = cast("Mapping[object, object]", value)
        if depth == 0:
            return "..."
        return {
            str(name): MASK if name == "api_key" and item else _masked(item, depth - 1)
            for name, item in held.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        items = cast("Sequence[object]", value)
        return [_masked(item, depth - 1) for item in items] if depth else "..."
    return value
