"""How long an outbound call may take, phase by phase. Passed down, never ambient."""

from msgspec import Struct


class Deadline(Struct, frozen=True, gc=False):
    """Limits of one outbound call, derived from its caller's.

    `at_s` is a point on the monotonic clock (`Clock.now_s`); the others are durations. A phase
    never outlives `at_s`.
    """

    at_s: float
    connect_s: float = 5.0
    first_byte_s: float = 60.0
    between_bytes_s: float = 60.0

    def left_s(self, now_s: float) -> float:
        """Seconds until the deadline; zero once it has passed."""
        return max(0.0, self.at_s - now_s)
