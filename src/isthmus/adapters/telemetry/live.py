"""Series of the sessions that run now: how many, and how long the quietest has made no step.

The names are ours: the contracts have none for them.
"""

import time
from collections.abc import Callable

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from isthmus.adapters.telemetry.exposition import Show
from isthmus.core.events import (
    SessionEnded,
    SessionStarted,
    ToolCalled,
)
from isthmus.core.session_facts import ActionAnswered, CheckpointWritten


class LiveSessions:
    """Sessions of this process by their last step; a page counts them when it is made.

    A step is a start, an action answered, a tool called or a checkpoint stored. One without any for
    `quiet_limit_s` is stuck. `now_s` is monotonic.
    """

    def __init__(
        self, limit: int, quiet_limit_s: float, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._quiet_limit_s = quiet_limit_s
        self._now_s = now_s
        self._steps: dict[str, float] = {}
        self.shows: tuple[Show, ...] = (
            self._show_live,
            self._show_limit,
            self._show_stuck,
            self._show_quiet,
        )

    def started(self, fact: SessionStarted) -> None:
        """A session began."""
        self._steps[fact.workflow_id] = self._now_s()

    def stepped(self, fact: ActionAnswered | ToolCalled | CheckpointWritten) -> None:
        """A session came further; what is told after its end is not a session any more."""
        if fact.workflow_id in self._steps:
            self._steps[fact.workflow_id] = self._now_s()

    def ended(self, fact: SessionEnded) -> None:
        """A session ended."""
        self._steps.pop(fact.workflow_id, None)

    def _quiet(self) -> list[float]:
        """Seconds since the last step of each."""
        now_s = self._now_s()
        return [now_s - at_s for at_s in self._steps.copy().values()]

    def _show_live(self) -> Metric:
        return _one("agent_platform_sessions_live", "Sessions that run.", len(self._steps))

    def _show_limit(self) -> Metric:
        text = "Sessions that may run at once."
        return _one("agent_platform_sessions_limit", text, self._limit)

    def _show_stuck(self) -> Metric:
        stuck = sum(quiet_s > self._quiet_limit_s for quiet_s in self._quiet())
        text = "Sessions that run, but made no step for longer than an action may take."
        return _one("agent_platform_sessions_stuck", text, stuck)

    def _show_quiet(self) -> Metric:
        text = "Seconds since the last step of the session that is quiet for longest."
        return _one("agent_platform_session_quiet_seconds", text, max(self._quiet(), default=0.0))


def _one(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
