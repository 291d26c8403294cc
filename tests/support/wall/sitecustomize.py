"""Sets the wall clock of this Python, as often as the file says that `WALL_CLOCK` names.

What is monotonic goes on as it does, as with a real clock that is set.
"""

import os
import time

_file = os.open(os.environ["WALL_CLOCK"], os.O_RDONLY)
_time_ns = time.time_ns


def _ahead_ns() -> int:
    return int(os.pread(_file, 32, 0)) * 1_000_000_000


def _now_ns() -> int:
    return _time_ns() + _ahead_ns()


def _now_s() -> float:
    return _now_ns() / 1_000_000_000


time.time_ns, time.time = _now_ns, _now_s
