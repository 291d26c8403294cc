"""What the rules do to code that real packages hold, and to a megabyte that was made to be slow."""

import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from isthmus.redaction.rules import redact, shipped
from tests.support.secrets import Planted, planted

SNIPPETS, LINES = 10_000, 40
SUFFIXES = {".py", ".pyi", ".js", ".ts", ".c", ".h", ".json", ".md", ".txt", ".yml", ".toml"}
MEGABYTE = 1 << 20


def snippets() -> Iterator[str]:
    """Pieces of 40 lines of the installed packages' files, at most three of each file."""
    roll = Random(5)  # noqa: S311 - a reproducible sample
    root = Path(sysconfig.get_paths()["purelib"])
    files = sorted(file for file in root.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    roll.shuffle(files)
    for file in files:
        if file.stat().st_size < 400_000:
            lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
            starts = list(range(0, len(lines), LINES))
            for start in roll.sample(starts, min(3, len(starts))):
                text = "\n".join(lines[start : start + LINES])
                if len(text) >= 200:
                    yield text


def test_code_of_installed_packages_holds_hardly_a_secret() -> None:
    found = [redact(text) != text for _, text in zip(range(SNIPPETS), snippets(), strict=False)]
    assert len(found) == SNIPPETS
    assert sum(found) <= SNIPPETS * 0.005


@pytest.mark.parametrize("one", planted(), ids=lambda one: one.rule)
def test_a_megabyte_that_never_ends_a_secret_takes_linear_time(one: Planted) -> None:
    unit = one.before + one.secret[: max(len(one.secret) - 2, 1)]

    def took_s(size: int) -> float:
        data = (unit * (size // len(unit) + 1))[:size].encode()
        start = time.process_time()
        shipped().found(data)
        return time.process_time() - start

    took_s(1 << 12)
    # Sixteen times as much; quadratic time would be 256 times as long, each time.
    ratios = (took_s(MEGABYTE) / (took_s(MEGABYTE // 16) + 0.001) for _ in range(5))
    assert any(ratio < 100 for ratio in ratios)
