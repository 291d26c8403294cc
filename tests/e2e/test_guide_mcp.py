"""The example of docs/guide/mcp.md: what it sets is read, and the doctor looks at its servers."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from isthmus.settings import McpServer, load
from tests.support.guide import ROOT, blocks, page
from tests.support.ports import free_port
from tests.support.process import KEPT, PROGRAM

SAMPLE = ROOT / "tests" / "contract" / "executor" / "mcp_sample.py"


def written(folder: Path) -> Path:
    """The page's settings; its program is our sample, and its address one where nobody listens."""
    (text,) = blocks("mcp", "yaml")
    settings: Any = yaml.safe_load(text)
    settings["mcp"]["servers"]["sample"] |= {"command": sys.executable, "args": [str(SAMPLE)]}
    settings["mcp"]["servers"]["wiki"]["url"] = f"http://127.0.0.1:{free_port()}/mcp"
    file = folder / "isthmus.yml"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return file


def test_the_doctor_tells_of_each_server(tmp_path: Path) -> None:
    written(tmp_path)
    (script,) = blocks("mcp", "sh")
    done = subprocess.run(
        ["bash", "-uc", script],
        env={name: os.environ[name] for name in KEPT if name in os.environ}
        | {"PATH": f"{Path(PROGRAM).parent}:/usr/bin:/bin", "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = done.stdout + done.stderr
    assert "tools: 3" in said
    assert "correct mcp.servers.wiki" in said
    assert "the-key-of-the-wiki" not in said


def test_every_key_is_on_the_page(tmp_path: Path) -> None:
    text = page("mcp")
    assert [name for name in McpServer.model_fields if f"`{name}`" not in text] == []
    wiki = load(written(tmp_path), environ={}).mcp.servers["wiki"]
    assert (wiki.approve, wiki.definitions) == ("always", ("chat", "developer"))


def test_without_servers_the_library_is_not_loaded() -> None:
    code = (
        "import sys, isthmus.app.sessions, isthmus.doctor.run\n"
        "print({'mcp', 'mcp_types', 'isthmus.mcp_link'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "set()\n"
