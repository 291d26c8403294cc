"""Headers that tell callers how their limits stand.

Source: draft-ietf-httpapi-ratelimit-headers-06; `name` and `counts` are parameters of ours.
"""

from collections.abc import Sequence
from math import ceil

from isthmus.core.limits import LimitState

Header = tuple[bytes, bytes]


def told(states: Sequence[LimitState]) -> list[Header]:
    """The tightest limit in full, which comes first, and the policy of each."""
    tightest = states[0]
    return [
        (b"ratelimit-limit", b"%d" % tightest.amount),
        (b"ratelimit-remaining", b"%d" % tightest.remaining),
        (b"ratelimit-reset", b"%d" % ceil(tightest.reset_s)),
        (b"ratelimit-policy", b", ".join([_policy(state) for state in states])),
    ]


def _policy(state: LimitState) -> bytes:
    """Names are letters, digits, `_`, `.` and `-`: the settings see to it."""
    window = "" if state.counted == "concurrency" else f";w={ceil(state.window_s)}"
    return f'{state.amount}{window};name="{state.rule}";counts="{state.counted}"'.encode()
