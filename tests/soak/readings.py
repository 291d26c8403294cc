"""What the machine tells of a process: memory, sockets; and how a series of it goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from pathlib import Path
from statistics import median

PAGE_BYTES = 4096
MIB = 1024 * 1024
PART_S = 10.0


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
    """Growth of resident memory, in MiB an hour.

    The median of the slopes between any two points of the lower envelope: what is there for the
    moment counts as little as what a single burst left, and a steady leak in full.
    Source: Sen, "Estimates of the Regression Coefficient Based on Kendall's Tau", 1968.
    """
    slopes = [
        (last.resident_bytes - first.resident_bytes) / (last.at_s - first.at_s)
        for first, last in combinations(envelope(readings), 2)
    ]
    return median(slopes) * 3600 / MIB if slopes else 0.0


def grown_mib(readings: Sequence[Reading]) -> float:
    """How much more resident memory is in the last tenth than it was in the first, in MiB."""
    sizes = [one.resident_bytes for one in envelope(readings)]
    tenth = len(sizes) // 10 or 1
    return (median(sizes[-tenth:]) - median(sizes[:tenth])) / MIB


def envelope(readings: Sequence[Reading]) -> list[Reading]:
    """The smallest reading of every `PART_S`."""
    parts = groupby(readings, lambda one: int((one.at_s - readings[0].at_s) / PART_S))
    return [min(part, key=lambda one: one.resident_bytes) for _, part in parts]
