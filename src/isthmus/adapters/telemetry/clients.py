"""What clients say of themselves, by request: labels for the facts that are told in it."""

from collections import OrderedDict
from typing import Final

from isthmus.core.events import FeatureUsed
from isthmus.core.identity import LABELS
from isthmus.core.session_facts import SessionAsked

UNKNOWN: Final = "unknown"
LIMIT: Final = 10_000
NOBODY: Final = (UNKNOWN,) * len(LABELS)


class Clients:
    """Values of LABELS by request id. Requests of one id, which callers choose, share them."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def note(self, request_id: str, fact: FeatureUsed | SessionAsked) -> None:
        """A client spoke of itself."""
        if not request_id:
            return
        if isinstance(fact, SessionAsked):
            told = tuple(value for _, value in fact.client)
        else:
            told = fact.client.labels
        self._known[request_id] = tuple(value or UNKNOWN for value in told) or NOBODY
        self._known.move_to_end(request_id)
        if len(self._known) > LIMIT:
            self._known.popitem(last=False)

    def of(self, request_id: str) -> tuple[str, ...]:
        """What is known of a request's client."""
        return self._known.get(request_id, NOBODY)
