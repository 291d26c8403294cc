"""Series of the relay: sockets, the sessions behind them, and the HTTP actions it carries out.

Names and labels: instance contract, section 3.11.
"""

from functools import partial
from typing import Final

from prometheus_client import Histogram

from isthmus.adapters.telemetry.exposition import Show, counter, histogram
from isthmus.adapters.telemetry.family import Count, Family, Timer
from isthmus.core.events import ActionRelayed, RelayClosed, RelayOpened

_PREFIX: Final = "gitlab_workhorse_duo_workflow"


class Relays:
    """Series of the HTTP side. Label values are ours, but for the few methods that pass."""

    def __init__(self) -> None:
        self._connections: Family[Count] = Family(Count)
        self._connections[()].value = 0
        self._connection_errors = Family(Count, ("error_type",))
        self._sessions: Family[Count] = Family(Count)
        self._sessions[()].value = 0
        self._session_errors = Family(Count, ("grpc_code",))
        self._actions = Family(Count, ("method", "status_code"), ("method", "status_code"))
        self._seconds = Family(
            partial(Timer, Histogram.DEFAULT_BUCKETS[:-1]), ("method",), ("method",)
        )
        self._action_errors = Family(Count, ("method", "error_type"), ("method",))
        counters = (
            ("connections", "Sockets that were opened.", self._connections),
            ("connection_errors", "Sockets that failed.", self._connection_errors),
            ("sessions", "Sessions over sockets.", self._sessions),
            ("session_errors", "Sessions that failed.", self._session_errors),
            ("http_actions", "HTTP actions that were answered.", self._actions),
            ("http_action_errors", "HTTP actions without an answer.", self._action_errors),
        )
        self.shows: tuple[Show, ...] = (
            *(counter(f"{_PREFIX}_{name}", text, family) for name, text, family in counters),
            histogram(
                f"{_PREFIX}_http_action_duration_seconds",
                "Seconds of an HTTP action.",
                self._seconds,
            ),
        )

    def opened(self, fact: RelayOpened) -> None:  # noqa: ARG002 - its client has no series
        """A socket."""
        self._connections[()].value += 1

    def closed(self, fact: RelayClosed) -> None:
        """A socket's end, and its session's, if there was one."""
        if fact.error:
            self._connection_errors[(fact.error,)].value += 1
        if fact.workflow_id:
            self._sessions[()].value += 1
            if fact.status != "OK":
                self._session_errors[(fact.status,)].value += 1

    def acted(self, fact: ActionRelayed) -> None:
        """An HTTP action."""
        self._seconds[(fact.method,)].observe(fact.duration_s)
        if fact.error:
            self._action_errors[fact.method, fact.error].value += 1
        else:
            self._actions[fact.method, str(fact.status)].value += 1
