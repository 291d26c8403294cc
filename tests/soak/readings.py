"""What the machine tells of a process: memory, sockets; and how a series of it goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE_BYTES = 4096
MIB = 1024 * 1024


@dataclass(frozen=True)
class Reading:
    """One look at a process."""

    at_s: float
    resident_bytes: int
    sockets: int
    threads: int


def read(pid: int, at_s: float) -> Reading:
    """Look at a process now."""
    root = Path(f"/proc/{pid}")
    resident = int((root / "statm").read_text().split()[1]) * PAGE_BYTES
    sockets = 0
    for entry in (root / "fd").iterdir():
        try:
            sockets += str(entry.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue  # It was closed between the two looks.
    threads = sum(1 for _ in (root / "task").iterdir())
    return Reading(at_s, resident, sockets, threads)


def slope_mib_h(readings: Sequence[Reading]) -> float:
    """Growth of resident memory, in MiB an hour, by least squares over the second half."""
    half = readings[len(readings) // 2 :]
    mean_s = sum(one.at_s for one in half) / len(half)
    mean = sum(one.resident_bytes for one in half) / len(half)
    over = sum((one.at_s - mean_s) * (one.resident_bytes - mean) for one in half)
    under = sum((one.at_s - mean_s) ** 2 for one in half)
    return over / under * 3600 / MIB if under else 0.0
