"""Every numbered line of a contract's checklist has a test that bears its number."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def numbers(section: str) -> set[int]:
    name = re.compile(rf"def test_{section}_(\d+)")
    files = TESTS.rglob("test_*.py")
    return {int(found) for path in files for found in name.findall(path.read_text("utf-8"))}


def test_the_gateways_checklist_is_complete() -> None:
    assert numbers("h11") == set(range(1, 73))


def test_the_instances_checklist_is_complete() -> None:
    assert numbers("i7") == set(range(1, 65))
