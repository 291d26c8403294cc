"""Every block of the guide is run by a test of its page, or says why not, and is well made.

The commands of a page are run by the test module that `RUN_BY` names. What can be seen without
running is looked at here: syntax, our commands and their options, settings, targets of `make`.
"""

import configparser
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from isthmus.cli.main import COMMANDS, _parser  # pyright: ignore[reportPrivateUsage]
from isthmus.settings import Settings, load
from isthmus.settings_names import OPERATOR_NAMES, OTHER_NAMES
from isthmus.settings_sources import leaves
from tests.support.guide import ROOT, Block, found, names, page

TESTS = ROOT / "tests"
RUN_BY: dict[str, tuple[str, ...]] = {
    "clients": ("deploy/test_docs_guides.py",),
    "connect": ("deploy/test_docs_guides.py",),
    "flows": ("e2e/test_guide_flows.py",),
    "install": ("deploy/test_docs_guides.py",),
    "limits": ("e2e/test_guide_limits.py",),
    "mcp": ("e2e/test_guide_mcp.py",),
    "monitoring": ("deploy/test_monitoring_guide.py",),
    "opencode": ("e2e/test_npm_opencode.py",),
    "redaction": ("e2e/test_guide_redaction.py",),
    "routing": ("e2e/test_guide_routing.py",),
    "security": ("deploy/test_docs_guides.py", "contract/scan/test_service.py"),
    "telemetry": ("e2e/test_guide_telemetry.py", "e2e/test_guide_usage.py"),
    "tls": ("deploy/test_tls_guide.py",),
    "troubleshoot": ("deploy/test_doctor_guide.py",),
    "upgrade": ("deploy/test_years_backup.py",),
}
"""Page -> the modules that run what it shows; others are found by their name in a test's text."""
RUN = ("sh", "yaml", "json", "ini")
BLOCKS = [block for name in names() for block in found(name) if block.kind in RUN]
VARIABLES = {
    *(leaf.variable for leaf in leaves(Settings)),
    *(name for name, _ in OPERATOR_NAMES),
    *OTHER_NAMES,
}
OTHERS = {
    *("ISTHMUS_NAME", "ISTHMUS_IMAGE", "ISTHMUS_UPSTREAM_TLS", "ISTHMUS_TOKEN"),
    "AIGW_GITLAB_API_URL",
}
"""Of the proxies and the executor, and one that operators set and nothing here needs."""
_VARIABLE = re.compile(r"\b((?:ISTHMUS|AIGW|DUO_WORKFLOW)_[A-Z0-9_]+)=")
_FILE = re.compile(r"(?<![\w./-])[\w./-]+\.(?:pem|crt|key)\b")
_OURS = re.compile(rf"(?:^|[\s(;&|/])isthmus ((?:{'|'.join(COMMANDS)})\b[^|;&>)\n]*)")


def runners(name: str) -> tuple[str, ...]:
    """The test modules of a page."""
    named = RUN_BY.get(name)
    if named is not None:
        return named
    near = [*(TESTS / "deploy").glob("test_*.py"), *(TESTS / "e2e").glob("test_*.py")]
    page_name = re.compile(rf"guide.{{0,12}}{name}|\b{name}\.md\b", re.DOTALL)
    return tuple(
        str(path.relative_to(TESTS)) for path in near if page_name.search(path.read_text("utf-8"))
    )


@pytest.mark.parametrize("name", names())
def test_a_page_with_blocks_has_a_test_that_runs_them(name: str) -> None:
    shown = [block for block in found(name) if block.kind in RUN and not block.reason]
    assert not shown or runners(name), f"{name}.md shows commands that nobody runs"
    for module in runners(name):
        assert (TESTS / module).is_file(), module


@pytest.mark.parametrize("name", names())
def test_no_block_escapes(name: str) -> None:
    fences = [line for line in page(name).splitlines() if line.lstrip().startswith("```")]
    assert len(fences) == 2 * len(list(found(name)))
    aliases = {"bash", "shell", "console", "yml", "dotenv", "env", "conf"}
    assert {block.kind for block in found(name)}.isdisjoint(aliases), f"one of {RUN} is looked at"


def test_a_reason_is_one() -> None:
    assert all(len(block.reason.split()) > 3 for block in BLOCKS if block.reason)
    assert sum(bool(block.reason) for block in BLOCKS) < len(BLOCKS) / 10


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.kind == "sh"], ids=str)
def test_commands_are_well_made(block: Block) -> None:
    done = subprocess.run(
        ["bash", "-n"], input=block.text, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    for words in ours(block.text):
        try:
            _parser(words).parse_args(words)
        except SystemExit as error:
            assert error.code == 0, words  # noqa: PT017 - argparse knows no other way
    for target in re.findall(r"(?:^|[\s;&(])make ([a-z-]+)", block.text):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert set(unknown(block.text)) == set()


def ours(text: str) -> Iterator[list[str]]:
    """The words of each of our commands, behind the program's name."""
    for match in _OURS.finditer(text.replace("\\\n", " ")):
        yield [word for word in shlex.split(match[1], comments=True, posix=True) if word != "&"]


def unknown(text: str) -> list[str]:
    """Variables that look like the server's and are not."""
    return [
        name
        for name in _VARIABLE.findall(text)
        if name not in VARIABLES
        and name.removesuffix("_FILE") not in VARIABLES
        and name not in OTHERS
    ]


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.kind != "sh"], ids=str)
def test_configuration_can_be_read(block: Block, tmp_path: Path) -> None:
    match block.kind:
        case "json":
            json.loads(block.text)
        case "ini":
            parser = configparser.ConfigParser(strict=False, interpolation=None)
            parser.read_string(block.text if "[" in block.text[:2] else f"[all]\n{block.text}")
            assert unknown(block.text) == []
        case _:
            documents = list(yaml.safe_load_all(block.text))
            assert documents
            if all(isinstance(d, dict) and d.keys() <= FIELDS for d in documents):
                path = tmp_path / "isthmus.yml"
                path.with_name("there").touch()
                path.write_text(_FILE.sub(f"{tmp_path}/there", block.text), encoding="utf-8")
                load(path, environ={})


FIELDS = Settings.model_fields.keys()
