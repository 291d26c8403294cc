"""What the facts of a request add to its line in the access log.

Source: HTTP gateway contract, section 10.3.
"""

from collections import OrderedDict
from typing import Any

from isthmus.core.events import Fact, FeatureUsed, SuggestionTrimmed

LIMIT = 10_000
FEATURES_LIMIT = 8
ADDED = frozenset({FeatureUsed, SuggestionTrimmed})
"""The kinds of fact that add something."""


class Trail:
    """Fields by request id, for facts that come before the request's end; bounded.

    `tracked` is whether product events are sent, so that the line may name them.
    """

    def __init__(self, *, tracked: bool) -> None:
        self._tracked = tracked
        self._features: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._trims: OrderedDict[str, float] = OrderedDict()

    def add(self, request_id: str, fact: Fact) -> None:
        """Note what a fact tells."""
        if not request_id:
            return
        # By exact type, as the pipeline does: patterns of classes take three times as long.
        if type(fact) is SuggestionTrimmed:
            self._trims[request_id] = fact.duration_s
            _bound(self._trims)
        elif type(fact) is FeatureUsed:
            names = self._features.get(request_id, ())
            if len(names) < FEATURES_LIMIT:
                self._features[request_id] = (*names, fact.unit_primitive)
            _bound(self._features)

    def complete(self, request_id: str, fields: dict[str, object]) -> None:
        """Add what was noted of a request to the fields of its line, and forget it."""
        names = self._features.pop(request_id, ())
        if names:
            fields.setdefault("meta.unit_primitive", names[0])
            if self._tracked:
                fields["tracked_internal_events"] = [f"request_{name}" for name in names]
        if request_id in self._trims:
            fields["post_processing_duration_s"] = self._trims.pop(request_id)


def _bound(held: OrderedDict[str, Any]) -> None:
    if len(held) > LIMIT:
        held.popitem(last=False)
