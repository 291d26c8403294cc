"""A session from end to end, and the server killed in the middle of one."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.process import PROGRAM, RunningServer, prepare, running_server, start

SLOW_TOUR = {"ISTHMUS_PROVIDERS__SCRIPTED__PAUSE_MS": "700"}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of a small repository, as a person would have it."""
    origin = tmp_path / "origin"
    origin.mkdir()
    (origin / "README.md").write_text("# Demo\n\nA small project.\n")
    (origin / "main.py").write_text("x = 1  # TODO: choose a better name\n")
    (origin / "test_main.py").write_text("def test_x() -> None:\n    assert True\n")
    git = ("git", "-c", "user.name=n", "-c", "user.email=e@example.test", "-C", str(origin))
    subprocess.run(["git", "init", "-q", str(origin)], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    target = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(origin), str(target)], check=True)
    return target


def executor(
    server: RunningServer, clone: Path, *arguments: str, keyboard: int = subprocess.DEVNULL
) -> "subprocess.Popen[str]":
    command = [PROGRAM, "executor", "--goal", "Look around", "--workspace", str(clone)]
    return subprocess.Popen(
        [*command, *arguments],
        env=server.environment,
        cwd=server.folder,
        stdin=keyboard,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def at_a_terminal(server: RunningServer, clone: Path, answer: str) -> tuple[int, str]:
    """Run the executor with a person at the keyboard; its exit code and all that it printed."""
    person, keyboard = os.openpty()
    try:
        os.write(person, answer.encode())
        run = executor(server, clone, keyboard=keyboard)
        out, _ = run.communicate(timeout=60)
    finally:
        os.close(person)
        os.close(keyboard)
    return run.returncode, out


def test_the_tour_reads_asks_writes_and_sums_up(tmp_path: Path, clone: Path) -> None:
    with running_server(tmp_path) as server:
        server.wait_for_sessions()
        code, out = at_a_terminal(server, clone, "y\n")
        assert code == 0, out
        assert "[scripted tour]" in out
        assert re.search(r"In [5-9] tool calls it saw", out), out
        written = (clone / "isthmus-tour.md").read_text()
        assert "tool_output" not in out + written
        assert "TODO" in written


@pytest.mark.parametrize("answer", ["n\n", "write it somewhere else\n"])
def test_a_refusal_is_respected(tmp_path: Path, clone: Path, answer: str) -> None:
    with running_server(tmp_path) as server:
        server.wait_for_sessions()
        code, out = at_a_terminal(server, clone, answer)
        assert code == 0, out
        assert out.count("First I list the workspace") == 1
        assert not (clone / "isthmus-tour.md").exists()


def test_where_nobody_can_be_asked_nothing_is_written(tmp_path: Path, clone: Path) -> None:
    with running_server(tmp_path) as server:
        server.wait_for_sessions()
        run = executor(server, clone)
        out, _ = run.communicate(timeout=60)
        assert run.returncode == 0, out
        assert not (clone / "isthmus-tour.md").exists()


def test_a_server_killed_in_the_middle_resumes_and_the_session_finishes(
    tmp_path: Path, clone: Path
) -> None:
    server = prepare(tmp_path, SLOW_TOUR)
    start(server)
    server.wait_for_sessions()
    run = executor(server, clone, "--approve", "all")
    assert run.stdout is not None
    seen: list[str] = []
    for line in run.stdout:
        seen.append(line)
        if "Read README.md" in line:
            break
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    time.sleep(0.5)
    start(server)
    try:
        rest, _ = run.communicate(timeout=90)
        out = "".join(seen) + rest
        assert run.returncode == 0, out
        assert (clone / "isthmus-tour.md").is_file(), out
        assert "In 5 tool calls it saw" in out
        listed = [line for line in out.splitlines() if line.strip() == "- List ."]
        assert len(listed) == 1, "what was done before the crash is not done again"
    finally:
        server.stop()


def test_a_drained_server_hands_the_session_over(tmp_path: Path, clone: Path) -> None:
    server = prepare(tmp_path, SLOW_TOUR)
    start(server)
    server.wait_for_sessions()
    run = executor(server, clone, "--approve", "all")
    assert run.stdout is not None
    for line in run.stdout:
        if "Read README.md" in line:
            break
    assert server.stop(signal.SIGTERM) == 0
    start(server)
    try:
        rest, _ = run.communicate(timeout=90)
        assert run.returncode == 0, rest
        assert (clone / "isthmus-tour.md").is_file(), rest
    finally:
        server.stop()
