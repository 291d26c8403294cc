"""Which runners have lapsed, told by their beats alone. Pure.

Every runner counts up a number of its own. Whoever watches needs no clock but its own: a number
that has stood still for as long as `LAPSE_S` belongs to a runner that is gone, or as good as gone.
"""

from collections.abc import Mapping

LAPSE_S = 2.0
BEAT_S = 0.5
LATE_S = 2 * BEAT_S
"""From one look at the beats to the next. What is more than that counts for nobody: a machine or a
database that stood still did so for the others as well."""
WAIT_S = LAPSE_S + 4 * BEAT_S
"""How long a stream waits for a session that is in other hands: longer than those may be dead."""


class Watch:
    """What one process has seen of the runners."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}
        self._looked_s: float | None = None

    def note(self, beats: Mapping[str, int], now_s: float) -> None:
        """The beats as they are now; runners that are not among them are forgotten."""
        last_s = now_s if self._looked_s is None else self._looked_s
        blind_s = max(now_s - last_s - LATE_S, 0.0)
        self._looked_s = now_s
        seen: dict[str, tuple[int, float]] = {}
        for runner, beat in beats.items():
            known, since_s = self._seen.get(runner, (None, 0.0))
            seen[runner] = (beat, since_s + blind_s if known == beat else now_s)
        self._seen = seen

    def lapsed(self) -> Mapping[str, int]:
        """The runners whose beat had stood still for too long at the last look, and that beat."""
        now_s = self._looked_s or 0.0
        return {
            runner: beat
            for runner, (beat, since_s) in self._seen.items()
            if now_s - since_s >= LAPSE_S
        }
