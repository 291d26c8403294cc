"""Globs over paths."""

import time

import pytest

from isthmus.core.errors import ToolRefused
from isthmus.executor.glob import matcher


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.py", "src/app.py", True),
        ("app.*", "src/app.py", True),
        ("src/*.py", "src/app.py", True),
        ("src/*.py", "src/a/b.py", False),
        ("**/*.py", "app.py", True),
        ("**/*.py", "a/b/c.py", True),
        ("src/**", "src/a/b.py", True),
        ("src/**/b.py", "src/b.py", True),
        ("src/**/b.py", "other/b.py", False),
        ("**/*.{ts,tsx}", "web/a.tsx", True),
        ("**/*.{ts,tsx}", "web/a.py", False),
        ("./README.md", "README.md", True),
        ("[ab].txt", "b.txt", True),
        ("[AB].txt", "b.txt", False),
        ("{x}", "{x}", True),
        ("*.PY", "a.py", False),
    ],
)
def test_a_pattern_fits(pattern: str, path: str, fits: bool) -> None:
    assert matcher(pattern)(path) is fits


@pytest.mark.parametrize(
    "pattern", ["", "../*", "a/../b", "/etc/*", "x" * 501, "{a,b}" * 10, "a\0b"]
)
def test_a_bad_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ToolRefused):
        matcher(pattern)


@pytest.mark.parametrize("pattern", ["*a" * 200 + "b", "**/" * 100 + "b", "a/**/" * 50 + "**/x"])
def test_a_hostile_pattern_costs_little(pattern: str) -> None:
    since = time.process_time()
    assert not matcher(pattern)("/".join(["a" * 100] * 40))
    assert time.process_time() - since < 1.0
