"""A wall clock that leaps, for real processes.

Libraries that do so below Python (libfaketime) change its waits as well, and it hangs.
"""

import os
from pathlib import Path

from tests.support.process import KEPT

SITE = Path(__file__).with_name("wall")


class WallClock:
    """The clock of processes with this environment; `ahead` sets it while they run."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.ahead(0)

    def ahead(self, seconds: int) -> None:
        """So much later than it is; less than nothing: earlier."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(f"{seconds:+020d}".encode())

    @property
    def environment(self) -> dict[str, str]:
        """What to start them with."""
        inherited = os.environ.get("PYTHONPATH", "") if "PYTHONPATH" in KEPT else ""
        path = [str(SITE), *filter(None, [inherited])]
        return {"WALL_CLOCK": str(self._file), "PYTHONPATH": ":".join(path)}
