"""The reference page and the tree say the same, both ways."""

from pathlib import Path

import pytest

from isthmus.cli import config
from isthmus.cli.main import main
from isthmus.settings import Settings
from isthmus.settings_names import OPERATOR_NAMES
from isthmus.settings_sources import leaves

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "settings.md"
LEAVES = {leaf.path: leaf for leaf in leaves(Settings)}


def rows() -> dict[str, list[str]]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0].strip("`"): row for row in cells if len(row) == 6 and row[0].startswith("`")}


def run(*words: str) -> int:
    return main(["config", *words])


def test_every_setting_is_documented_and_nothing_else_is() -> None:
    assert list(rows()) == list(LEAVES)


@pytest.mark.parametrize("path", LEAVES)
def test_a_row_says_what_the_tree_says(path: str) -> None:
    leaf = LEAVES[path]
    _, variable, names, kind, default, meaning = rows()[path]
    assert variable == f"`{leaf.variable}`"
    assert [name.strip("`") for name in names.split(", ") if name] == list(leaf.operator_names)
    assert kind == config.kind_of(leaf)
    assert default == f"`{config.default_of(leaf)}`"
    assert meaning
    assert meaning == leaf.info.description


def test_operators_names_are_named_once_and_lead_into_the_tree() -> None:
    names = [name for name, _ in OPERATOR_NAMES]
    assert len(set(names)) == len(names)
    assert {path for _, path in OPERATOR_NAMES} <= set(LEAVES)


def test_the_page_is_the_one_that_the_command_writes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("docs") == 0
    assert capsys.readouterr().out == PAGE.read_text(encoding="utf-8")


def test_check_says_ok_or_every_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.yml"
    file.write_text("http: {port: 1}\n", encoding="utf-8")
    assert run("check", "--config", str(file)) == 0
    assert capsys.readouterr().out == "ok\n"
    file.write_text("http: {port: -1}\nnone: 1\n", encoding="utf-8")
    assert run("check", "--config", str(file)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"http.port: must be greater than or equal to 0 ({file}, line 1)" in said.err
    assert "none: unknown key" in said.err


def test_show_masks_secrets_and_tells_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yml"
    file.write_text("database: {url: 'postgresql://u:hunter2@db/x'}\n", encoding="utf-8")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "do-not-show")
    monkeypatch.setenv("ISTHMUS_PROVIDERS__OPENAI__BASE_URL", "http://u:hunter2@host/v1")
    assert run("show", "--config", str(file)) == 0
    shown = capsys.readouterr().out
    assert "hunter2" not in shown
    assert "do-not-show" not in shown
    assert f"  url: '**********'  # {file}, line 1\n" in shown
    assert "    api_key: '**********'  # variable ANTHROPIC_API_KEY\n" in shown
    assert "\nhttp:\n  host: 127.0.0.1\n" in shown
