"""Headers that tell callers how their limits stand.

Source: draft-ietf-httpapi-ratelimit-headers-06; `name` and `counts` are parameters of ours.
"""

from functools import lru_cache
from math import ceil

from isthmus.core.limits import LimitKey, Standing

Header = tuple[bytes, bytes]


def told(standing: Standing) -> list[Header]:
    """The tightest limit in full, and the policy of each."""
    tightest = standing.tightest
    return [
        (b"ratelimit-limit", b"%d" % tightest.amount),
        (b"ratelimit-remaining", b"%d" % tightest.remaining),
        (b"ratelimit-reset", b"%d" % ceil(tightest.reset_s)),
        (b"ratelimit-policy", _policies(standing.keys)),
    ]


@lru_cache(maxsize=1_024)
def _policies(keys: tuple[LimitKey, ...]) -> bytes:
    """Names are letters, digits, `_`, `.` and `-`: the settings see to it."""
    return ", ".join(map(_policy, keys)).encode()


def _policy(key: LimitKey) -> str:
    window = "" if key.counted == "concurrency" else f";w={ceil(key.window_s)}"
    return f'{key.amount}{window};name="{key.rule}";counts="{key.counted}"'
