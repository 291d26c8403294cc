"""The house rules that a linter does not know: sizes, names, and where things may stand."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "isthmus"
BANNED = {"utils", "helpers", "common", "base", "manager", "misc", "types"}
RECORD = ROOT / "docs" / "adr" / "0016-size-by-package.md"
BUDGET = {
    "core": 3_400,
    "auth": 1_050,
    "prompts": 950,
    "redaction": 1_050,
    "routing": 4_200,
    "gateway": 3_500,
    "platform": 16_100,
    "instance": 2_400,
    "edge": 12_650,
    "adapters": 19_500,
    "executor": 3_550,
    "app": 1_840,
    "cli": 2_730,
    "doctor": 3_000,
    "settings": 3_100,
}
"""Lines of hand-written Python by package; `settings` are the modules beside them: `serve` too."""
FILES = sorted(p for p in SOURCE.rglob("*.py") if "contract" not in p.relative_to(SOURCE).parts)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_module_keeps_the_house_rules(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) <= 450, "a noun is missing"
    assert path.stem not in BANNED
    tree = ast.parse(text)
    if path.name == "__init__.py":
        allowed = path.parent == SOURCE
        assert allowed or not tree.body, "packages are empty"
    else:
        assert ast.get_docstring(tree), "a module says what it decides or talks to"
    long = [
        f"{node.name} ({node.end_lineno - node.lineno + 1} lines)"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 - _docstring_lines(node) > 40
    ]
    assert not long, f"too long: {long}"


def test_public_functions_and_classes_are_documented() -> None:
    missing = [
        f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}"
        for path in FILES
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not missing, "\n".join(missing)


def test_no_lock_file_names_a_registry() -> None:
    clients = ROOT / "tests" / "e2e" / "npm" / "package-lock.json"
    for lock in [*ROOT.glob("requirements*.lock"), clients]:
        assert "://" not in lock.read_text(encoding="utf-8"), lock.name


@pytest.mark.parametrize("part", BUDGET)
def test_a_part_of_the_house_stays_within_its_budget(part: str) -> None:
    assert _lines(part) <= BUDGET[part], "docs/adr/0016-size-by-package.md: say why"


def test_every_part_has_a_budget() -> None:
    parts = {path.relative_to(SOURCE).parts[0] for path in FILES}
    known = set(BUDGET) - {"settings"}
    assert {part for part in parts if not part.endswith(".py")} == known
    rows = [line.split("|")[1:4] for line in RECORD.read_text(encoding="utf-8").splitlines()]
    told = {row[0].strip(" `"): row[2].strip().replace(",", "") for row in rows if len(row) == 3}
    assert {part: str(lines) for part, lines in BUDGET.items()}.items() <= told.items()


def _lines(part: str) -> int:
    """Lines of a package, or of the modules that stand beside the packages."""
    return sum(
        len(path.read_text(encoding="utf-8").splitlines())
        for path in FILES
        if (
            path.parent == SOURCE
            if part == "settings"
            else path.relative_to(SOURCE).parts[0] == part
        )
    )


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return (first.end_lineno or first.lineno) - first.lineno + 1
    return 0
