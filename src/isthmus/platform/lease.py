"""Which runners have lapsed, told by their beats alone. Pure.

Every runner counts up a number of its own. Whoever watches needs no clock but its own: a number
that has stood still for as long as `LAPSE_S` belongs to a runner that is gone, or as good as gone.
"""

from collections.abc import Mapping

LAPSE_S = 2.0
BEAT_S = 0.5
WAIT_S = LAPSE_S + 4 * BEAT_S
"""How long a stream waits for a session that is in other hands: longer than those may be dead."""


class Watch:
    """What one process has seen of the runners."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}

    def note(self, beats: Mapping[str, int], now_s: float) -> None:
        """The beats as they are now; runners that are not among them are forgotten."""
        self._seen = {runner: self._since(runner, beat, now_s) for runner, beat in beats.items()}

    def lapsed(self, now_s: float) -> frozenset[str]:
        """The runners whose beat has stood still for too long."""
        return frozenset(
            runner for runner, (_, since_s) in self._seen.items() if now_s - since_s >= LAPSE_S
        )

    def _since(self, runner: str, beat: int, now_s: float) -> tuple[int, float]:
        known = self._seen.get(runner)
        return known if known is not None and known[0] == beat else (beat, now_s)
