"""The example of docs/guide/flows.md, as a person would follow it."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.support.guide import block, blocks
from tests.support.process import prepare, running_server
from tests.support.scripted_upstream import Script, scripted_upstream
from tests.support.upstream_wires import Call

FOUND = Call("judgement", {"found": True, "tasks": "Rename x"})
NOTHING = Call("judgement", {"found": False, "tasks": ""})
MADE = Call("create_file_with_contents", {"file_path": "TODO.md", "contents": "- Rename x\n"})
READ = Call("read_file", {"file_path": "main.py"})
WRITES: Script = [[MADE], "Written."]


@pytest.mark.parametrize(
    ("answer", "written"), [(FOUND, "- Rename x\n"), (NOTHING, None)], ids=["found", "nothing"]
)
def test_a_flow_is_written_checked_drawn_and_run(
    tmp_path: Path, answer: Call, written: str | None
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "main.py").write_text("x = 1  # TODO: rename\n", encoding="utf-8")
    (work / "todo.yml").write_text(block("flows", "yaml", "version: v1"), encoding="utf-8")
    check, draw, run = (f"cd work\n{text}" for text in blocks("flows", "sh"))
    scripts: dict[str, Script] = {
        "What is left to do here?": [[READ], [answer], "Over."],
        "Write these tasks to TODO.md": WRITES,
    }
    with (
        scripted_upstream(scripts) as upstream,
        running_server(tmp_path, upstream.settings()) as server,
    ):
        server.wait_for_sessions()
        checked = server.script(check)
        assert (checked.returncode, checked.stdout) == (0, "ok\n"), checked.stderr
        drawn = server.script(draw)
        assert drawn.returncode == 0, drawn.stderr
        (shown,) = blocks("flows", "text")
        assert drawn.stdout == shown
        picture = ET.fromstring((work / "todo.svg").read_text("utf-8"))  # noqa: S314 - our own
        assert "search" in {group.get("data-name") for group in picture.iter()}
        ran = server.script(run)
        assert ran.returncode == 0, ran.stdout + ran.stderr + server.log
        lines = next(json.dumps(asked.body) for asked in upstream.asked)
    assert "main.py" in lines
    assert "TODO: rename" in lines
    file = work / "TODO.md"
    assert (file.read_text("utf-8") if file.exists() else None) == written


def test_a_flow_that_is_wrong_is_told_so(tmp_path: Path) -> None:
    text = block("flows", "yaml", "version: v1").replace("to: end", "to: nowhere")
    (tmp_path / "todo.yml").write_text(text, encoding="utf-8")
    wrong = prepare(tmp_path).script(blocks("flows", "sh")[0])
    assert wrong.returncode == 1
    assert "there is no component 'nowhere'" in wrong.stderr
