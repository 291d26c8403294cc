"""`isthmus docs`: what it builds, what it prints, and what it refuses."""

from pathlib import Path

import pytest

from isthmus.cli.main import main


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ISTHMUS_DATA_DIR", str(tmp_path / "var"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "var"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "branches.md").write_text("# Protected branches\n\nRules for pushing.\n")
    (folder / "runners.md").write_text("# Runners\n\n## Jobs\n\nThey run.\n")
    return folder


def test_an_index_is_built_and_asked(
    docs: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["docs", "index", str(docs), "--base-url", "https://docs.test"]) == 0
    assert capsys.readouterr().out == f"2 files, 2 passages, 0 skipped: {data_dir / 'docs.db'}\n"
    assert main(["docs", "search", "who", "may", "push"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Protected branches (https://docs.test/branches/")
    assert "Rules for pushing." in out
    assert main(["docs", "search", "zebra"]) == 1
    assert main(["docs", "search", "?!"]) == 1


def test_another_file_may_be_named(docs: Path, tmp_path: Path) -> None:
    index = str(tmp_path / "other.db")
    assert main(["docs", "index", str(docs), "--index", index]) == 0
    assert main(["docs", "search", "runners", "--index", index, "--limit", "1"]) == 0


def test_what_cannot_be_done_is_said(
    docs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["docs"]) == 2
    assert main(["docs", "index", str(tmp_path / "nowhere")]) == 2
    assert main(["docs", "index", str(docs), "--base-url", "docs.test"]) == 2
    assert main(["docs", "search", "x"]) == 2
    assert "`isthmus docs index DIR` builds it" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["docs", "index", str(docs), "--index", str(tmp_path / "file" / "x.db")]) == 1
    assert main(["docs", "search", "x", "--index", str(tmp_path / "file")]) == 2
