"""The unit of `deploy/systemd`: systemd takes it, finds it hardened, and its commands work."""

import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from isthmus.settings import load
from tests.support.guide import ROOT
from tests.support.process import PROGRAM, running_server

UNIT = ROOT / "deploy" / "systemd" / "isthmus.service"
INSTALLED = "/opt/isthmus/bin/isthmus"
EXPOSED_MOST = 20
"""Tenths, of a hundred: systemd calls 2.0 and less "OK"."""


def service() -> dict[str, str]:
    """The last value of each key of `[Service]`."""
    parser = ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # pyright: ignore[reportAttributeAccessIssue] - names keep their case
    parser.read_string(UNIT.read_text(encoding="utf-8"))
    return dict(parser["Service"])


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with the program where it is here."""
    if shutil.which("systemd-analyze") is None:
        pytest.fail("systemd-analyze is missing: .ci/system installs it")
    text = UNIT.read_text(encoding="utf-8")
    assert text.count(INSTALLED) == 1
    found = tmp_path / UNIT.name
    found.write_text(text.replace(INSTALLED, PROGRAM), encoding="utf-8")
    return found


def analyze(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False
    )


def test_systemd_takes_it_without_a_word(unit: Path) -> None:
    done = analyze("verify", str(unit))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_it_is_hardened(unit: Path) -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSED_MOST}", str(unit))
    assert done.returncode == 0, done.stdout
    weaker = unit.with_name("weaker.service")
    weaker.write_text(unit.read_text("utf-8").replace("ProtectSystem=strict\n", ""), "utf-8")
    weaker.write_text(weaker.read_text("utf-8").replace("SystemCallFilter=", "#"), "utf-8")
    done = analyze("security", "--offline=true", f"--threshold={EXPOSED_MOST}", str(weaker))
    assert done.returncode != 0, done.stdout


def test_it_stops_later_than_the_server_needs() -> None:
    drain = load(environ={}).drain
    assert float(service()["TimeoutStopSec"]) > drain.notice_s + drain.deadline_s


def test_its_commands_start_reload_and_stop_the_server(tmp_path: Path) -> None:
    words = service()["ExecStart"].split()
    assert words[:2] == [INSTALLED, "server"]
    file = tmp_path / "isthmus.yml"
    file.write_text("logging: {level: INFO}\n", encoding="utf-8")
    arguments = [word.replace("/etc/isthmus/isthmus.yml", str(file)) for word in words[2:]]
    with running_server(tmp_path, arguments=tuple(arguments)) as server:
        file.write_text("logging: {level: DEBUG}\n", encoding="utf-8")
        reload = service()["ExecReload"].replace("$MAINPID", str(server.process.pid))
        subprocess.run(reload.split(), check=True, timeout=30)
        assert server.logs("logging.level")
        assert server.stop() == 0
