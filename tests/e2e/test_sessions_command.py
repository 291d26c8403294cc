"""`isthmus sessions` beside a running server, on a session that was really run."""

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.process import PROGRAM, RunningServer, running_server

WORKFLOWS = "/api/v4/ai/duo_workflows/workflows"
SLOW = {"ISTHMUS_PROVIDERS__SCRIPTED__PAUSE_MS": "8000"}


def place(folder: Path) -> Path:
    """A small working copy."""
    clone = folder / "clone"
    clone.mkdir()
    (clone / "README.md").write_text("# Demo\n")
    (clone / "main.py").write_text("x = 1  # TODO: rename\n")
    subprocess.run(["git", "init", "-q", str(clone)], check=True)
    subprocess.run(["git", "-C", str(clone), "add", "-A"], check=True)
    return clone


def executor(server: RunningServer, clone: Path) -> "subprocess.Popen[str]":
    """The tour, on this machine, with nobody to ask."""
    command = [PROGRAM, "executor", "--goal", "Look\x1b[2J around", "--approve", "all"]
    return subprocess.Popen(
        [*command, "--workspace", str(clone)],
        env=server.environment,
        cwd=server.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def told(server: RunningServer, line: str) -> str:
    """What the command prints; it must succeed, and say nothing else."""
    ran = server.command("sessions", *line.split())
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    return ran.stdout


def refused(server: RunningServer, line: str) -> str:
    """Why the command did not do it."""
    ran = server.command("sessions", *line.split())
    assert (ran.returncode, ran.stdout) == (2, ""), ran.stdout
    assert "Traceback" not in ran.stderr
    return ran.stderr.strip()


def listed(server: RunningServer, line: str = "") -> list[dict[str, Any]]:
    return json.loads(told(server, f"list --json {line}"))


def until(found: Callable[[], bool], limit_s: float = 60.0) -> None:
    end_s = time.monotonic() + limit_s
    while not found():
        assert time.monotonic() < end_s
        time.sleep(0.2)


def replayed(steps: list[dict[str, Any]]) -> dict[str, Any]:
    """The values after the last step, from what each of them changed."""
    values: dict[str, Any] = {}
    for step in steps:
        for name, change in step["changed"].items():
            match change:
                case {"is": value}:
                    values[name] = value
                case {"splice": splice}:
                    values[name] = spliced(values[name], splice)
                case {"each": each, "gone": gone}:
                    kept = {key: items for key, items in values[name].items() if key not in gone}
                    more = {key: spliced(kept.get(key, []), one) for key, one in each.items()}
                    values[name] = kept | more
                case _:
                    raise AssertionError(change)
        for name in step["gone"]:
            del values[name]
    return values


def spliced(items: list[Any], splice: list[Any]) -> list[Any]:
    first, cut, new = splice
    return [*items[:first], *new, *items[first + cut :]]


async def test_a_session_is_listed_shown_followed_and_exported(
    tmp_path: Path, database_url: str
) -> None:
    await asyncio.to_thread(_looked_at, tmp_path, database_url)


def _looked_at(folder: Path, url: str) -> None:
    with running_server(folder, {"ISTHMUS_DATABASE__URL": url}) as server:
        server.wait_for_sessions()
        run = executor(server, place(folder))
        out, _ = run.communicate(timeout=60)
        assert run.returncode == 0, out
        [session] = listed(server)
        number = session["id"]
        assert session["status"] == "input_required"
        assert session["flow"] == "chat"
        heading, row = told(server, "list").splitlines()
        assert heading.split()[:4] == ["ID", "STATUS", "FLOW", "USER"]
        assert "\x1b" not in row
        assert row.split()[0] == number
        assert listed(server, "--status finished") == []
        assert [one["id"] for one in listed(server, f"--user {session['user']}")] == [number]
        shown = json.loads(told(server, f"show {number} --json"))
        lines = told(server, f"export {number}").splitlines()
        steps = [json.loads(line) for line in lines]
        assert shown["steps"] == len(steps) > 10
        assert [step["step"] for step in steps] == list(range(1, len(steps) + 1))
        assert [step["parent"] for step in steps[1:]] == [step["id"] for step in steps[:-1]]
        assert steps[0]["at"] < steps[-1]["at"]
        file = folder / "steps.jsonl"
        assert "steps to" in told(server, f"export {number} --full --output {file}")
        assert file.stat().st_mode & 0o777 == 0o600
        full = [json.loads(line) for line in file.read_text().splitlines()]
        assert replayed(steps) == full[-1]["values"]
        assert len(replayed(steps[:5])["ui_chat_log"]) < len(full[-1]["values"]["ui_chat_log"])
        assert sum(map(len, lines)) < file.stat().st_size / 3
        assert "File exists" in refused(server, f"export {number} --output {file}")
        # It waits for its user: whoever follows it goes on, until it is stopped.
        follower = follow(server, number)
        until(lambda: "\n" in (server.folder / "tail.txt").read_text())
        assert told(server, f"stop {number}") == f"Session {number} is stopped.\n"
        assert follower.wait(20) == 0
        text = (server.folder / "tail.txt").read_text()
        assert "[scripted tour]" in text
        assert "tool: Read README.md" in text
        assert "\x1b" not in text
        assert text.endswith(f"Session {number} is stopped.\n")
        assert told(server, f"stop {number}") == f"Session {number} was stopped already.\n"
        said = told(server, f"show {number}")
        assert "stopped" in said
        _pruned(server, number, full)
        head = server.script(f"{PROGRAM} sessions export {number} --full | head -1")
        assert (head.returncode, head.stderr) == (0, "")


def _pruned(server: RunningServer, number: str, full: list[dict[str, Any]]) -> None:
    would = told(server, f"prune {number} --dry-run")
    gone = told(server, f"prune {number}")
    assert gone == would.replace("would go", "are gone")
    left = [json.loads(line) for line in told(server, f"export {number} --full").splitlines()]
    assert f" {len(full) - len(left)} steps are gone." in gone
    assert 0 < len(left) < len(full)
    assert left[-1]["values"] == full[-1]["values"]
    assert told(server, "prune --older-than 0") == "0 sessions, 0 steps.\n"


def follow(server: RunningServer, number: str) -> "subprocess.Popen[bytes]":
    with (server.folder / "tail.txt").open("wb") as out:
        return subprocess.Popen(
            [PROGRAM, "sessions", "tail", number],
            env=server.environment,
            cwd=server.folder,
            stdout=out,
            stderr=subprocess.STDOUT,
        )


async def test_a_session_that_runs_is_really_stopped(tmp_path: Path, database_url: str) -> None:
    await asyncio.to_thread(_stopped, tmp_path, database_url)


def _stopped(folder: Path, url: str) -> None:
    with running_server(folder, {"ISTHMUS_DATABASE__URL": url, **SLOW}) as server:
        server.wait_for_sessions()
        clone = place(folder)
        run = executor(server, clone)
        until(lambda: listed(server, "--status running") != [])
        [session] = listed(server)
        told(server, f"stop {session['id']}")
        # Unstopped, it would go on for a minute and more.
        out, _ = run.communicate(timeout=30)
        assert "stopped" in out.lower()
        assert not (clone / "isthmus-tour.md").exists()
        assert listed(server)[0]["status"] == "stopped"
        assert server.logs('"reason":"record"')
        steps = told(server, f"export {session['id']}")
        time.sleep(3)
        assert told(server, f"export {session['id']}") == steps


@pytest.fixture(name="idle")
def _idle(tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path) as server:
        yield server


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("show 7", "there is no session '7'"),
        ("show x/../y", "there is no session 'x/../y'"),
        ("tail 99999999999999999999999", "there is no session"),
        ("stop 0", "there is no session '0'"),
        ("export -- -1", "there is no session '-1'"),
        ("resume 7", "there is no session '7'"),
        ("list --user nobody", "there is no user 'nobody'"),
        ("prune", "give sessions, or --older-than"),
        ("prune 7 --older-than 3", "give sessions, or --older-than"),
        ("prune 7", "there is no session '7'"),
        ("prune --older-than -1", "--older-than must be from 0"),
        ("list --limit 0", "--limit must be from 1 to 10,000"),
    ],
)
def test_a_command_says_what_is_wrong(idle: RunningServer, line: str, reason: str) -> None:
    said = refused(idle, line)
    assert said.startswith(f"isthmus sessions {line.split(maxsplit=1)[0]}: ")
    assert reason in said


def test_what_no_runner_can_resume_is_told_how_it_goes_on(idle: RunningServer) -> None:
    number = made(idle, {})
    idle.environment["ISTHMUS_RUNNERS__KIND"] = "none"
    said = refused(idle, f"resume {number}")
    assert "`runners.kind`" in said
    assert f"isthmus executor --workflow-id {number} --goal" in said
    assert told(idle, f"export {number}") == ""
    assert told(idle, f"stop {number}") == f"Session {number} is stopped.\n"
    assert told(idle, f"tail {number}") == f"Session {number} is stopped.\n"


def test_the_runner_goes_on_with_a_session_and_ctrl_c_ends_a_tail(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        server.wait_for_sessions()
        number = made(server, {"start_workflow": True, "goal": "Look around"})
        until(lambda: listed(server)[0]["status"] == "input_required")
        shown = json.loads(told(server, f"show {number} --json"))
        assert shown["runs_by_job"] is True
        assert "[scripted tour]" in shown["said_last"]
        follower = follow(server, number)
        until(lambda: "scripted tour" in (server.folder / "tail.txt").read_text())
        assert "waits for words" in refused(server, f"resume {number}")
        assert "waits for no approval" in refused(server, f"resume {number} --approve")
        ran = server.command("sessions", "resume", number, "--message", "Once more")
        assert (ran.returncode, ran.stdout) == (0, f"Session {number} goes on.\n"), ran.stderr
        until(lambda: "user: Once more" in (server.folder / "tail.txt").read_text())
        follower.send_signal(signal.SIGINT)
        assert follower.wait(20) == 130
        assert "Traceback" not in (server.folder / "tail.txt").read_text()


def made(server: RunningServer, more: dict[str, Any]) -> str:
    """A record of the local user's, in a project."""
    token = server.command("tokens", "create", "--name", "t").stdout.strip()
    assert server.command("projects", "add", "local/app").returncode == 0
    body = {"goal": "x", "workflow_definition": "chat", "project_id": "local/app", **more}
    headers = {"authorization": f"Bearer {token}"}
    reply = httpx.post(server.url + WORKFLOWS, json=body, headers=headers, timeout=60)
    assert reply.status_code == 201, reply.text
    return str(reply.json()["id"])
