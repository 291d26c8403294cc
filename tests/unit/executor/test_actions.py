"""The actions, carried out in a real git repository."""

import asyncio
import json
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from isthmus.contract.contract_pb2 import Action, ActionResponse
from isthmus.executor import actions
from isthmus.executor.action import ActionKind, Machine
from isthmus.executor.answer import ANSWER_LIMIT_BYTES, Answerer, load_actions
from isthmus.executor.git import Git
from isthmus.executor.process import Bounds, run, scrubbed
from isthmus.executor.workspace import Workspace

GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@example.test"]


def git(root: Path, *words: str) -> None:
    subprocess.run([*GIT, *words], cwd=root, check=True, capture_output=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with tracked, new, ignored and protected files, and links."""
    root = tmp_path / "work"
    (root / "src").mkdir(parents=True)
    (root / "README.md").write_text("# Work\nTODO: write more\n")
    (root / "src/app.py").write_text("def main():\n    return 1  # TODO\n")
    (root / ".gitignore").write_text("build/\n*.log\n")
    (root / ".env").write_text("TODO=secret\n")
    git(root, "init", "-q")
    git(root, "add", "-A", "-f")
    git(root, "commit", "-q", "-m", "first")
    (root / "src/new.py").write_text("# todo later\n")
    (root / "build").mkdir()
    (root / "build/out.txt").write_text("TODO built\n")
    (root / "debug.log").write_text("TODO logged\n")
    (root / "src/gone.py").write_text("x")
    git(root, "add", "src/gone.py")
    (root / "src/gone.py").unlink()
    (root / "outside").symlink_to("/etc")
    return root


Fields = dict[str, Any]


def machine_on(root: Path, environment: dict[str, str] | None = None) -> Machine:
    workspace = Workspace(root)
    given = scrubbed(environment if environment is not None else dict(os.environ))
    return Machine(workspace, Git(workspace, given), given)


class Bugs:
    """Keeps what was reported."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def __call__(self, action: str, bug: Exception) -> None:
        self.told.append((action, type(bug).__name__))


async def answerer_on(machine: Machine, bugs: Bugs | None = None) -> Answerer:
    kinds = await asyncio.to_thread(load_actions, actions)
    return Answerer(kinds, machine, bugs or Bugs())


async def ask(root: Path, **action: Fields) -> ActionResponse:
    bugs = Bugs()
    answerer = await answerer_on(await asyncio.to_thread(machine_on, root), bugs)
    answer = await answerer.answer(ParseDict({"requestID": "r-1"} | action, Action()))
    assert answer.requestID == "r-1"
    assert bugs.told == []
    return answer


async def text(root: Path, **action: Fields) -> str:
    answer = (await ask(root, **action)).plainTextResponse
    assert answer.error == ""
    return answer.response


async def error(root: Path, **action: Fields) -> str:
    answer = (await ask(root, **action)).plainTextResponse
    assert answer.error != ""
    return answer.error


def test_every_action_of_the_contract_has_a_file_but_the_notification() -> None:
    fields = {field.name for field in Action.DESCRIPTOR.oneofs_by_name["action"].fields}
    assert set(load_actions(actions)) == fields - {"newCheckpoint"}


async def test_a12_40_a_file_is_read_whole_or_by_lines(root: Path) -> None:
    assert await text(root, runReadFile={"filepath": "README.md"}) == "# Work\nTODO: write more\n"
    window = await text(root, runReadFile={"filepath": "README.md", "offset": 1, "limit": 1})
    assert window == (
        "TODO: write more\n\n(Showing lines 2-2 of 3 total. Use offset=2 to continue reading.)"
    )
    head = await text(root, runReadFile={"filepath": "README.md", "offset": 0, "limit": 2000})
    assert head == "# Work\nTODO: write more\n"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("none.txt", 'File not found: "none.txt"'),
        ("src", "is a directory"),
        ("", "is a directory"),
        (".env", "protected"),
        (".git/config", "protected"),
        ("outside/passwd", "symbolic link"),
        ("../x", "'..'"),
        ("debug.log", "ignored by git"),
        ("build/out.txt", "ignored by git"),
    ],
)
async def test_a_file_that_may_not_be_read_says_why(root: Path, path: str, says: str) -> None:
    for action in ("runReadFile", "runEditFile", "runWriteFile"):
        if (action, path) == ("runWriteFile", "none.txt"):
            continue
        assert says in await error(root, **{action: {"filepath": path}})


async def test_a_binary_file_is_refused_and_other_encodings_are_shown(root: Path) -> None:
    (root / "a.bin").write_bytes(b"\x7fELF\0\0")
    (root / "latin.txt").write_bytes(b"caf\xe9")
    assert "binary" in await error(root, runReadFile={"filepath": "a.bin"})
    assert await text(root, runReadFile={"filepath": "latin.txt"}) == "caf\ufffd"
    agent = await answerer_on(await asyncio.to_thread(machine_on, root))
    await agent.answer(Action(runReadFile={"filepath": "latin.txt"}))
    edit = Action(runEditFile={"filepath": "latin.txt", "oldString": "c", "newString": "d"})
    assert "UTF-8" in (await agent.answer(edit)).plainTextResponse.error


async def test_several_files_are_one_json_object(root: Path) -> None:
    paths = ["README.md", "none", "../x", "README.md"]
    found = json.loads(await text(root, runReadFiles={"filepaths": paths}))
    assert found["README.md"] == {"content": "# Work\nTODO: write more\n"}
    assert found["none"] == {"error": 'File not found: "none"'}
    assert "'..'" in found["../x"]["error"]
    assert len(found) == 3
    many = [f"f{number}" for number in range(101)]
    assert "at most 100" in await error(root, runReadFiles={"filepaths": many})


async def test_a_directory_is_listed_without_what_is_hidden(root: Path) -> None:
    assert (await text(root, listDirectory={"directory": "."})).split("\n") == [
        ".gitignore",
        "README.md",
        "outside",
        "src/",
    ]
    assert await text(root, listDirectory={"directory": "src"}) == "app.py\nnew.py"
    assert "not found" in await error(root, listDirectory={"directory": "none"})
    assert "symbolic link" in await error(root, listDirectory={"directory": "outside"})


async def test_a_directory_is_made_once_or_twice(root: Path) -> None:
    for _ in range(2):
        made = await text(root, mkdir={"directory_path": "./x/y"})
        assert made == 'Directory created successfully: "./x/y"'
    assert (root / "x/y").is_dir()
    assert "not a directory" in await error(root, mkdir={"directory_path": "README.md/z"})


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.py", "src/app.py\nsrc/new.py"),
        ("**/*", ".gitignore\nREADME.md\nsrc/app.py\nsrc/new.py"),
        ("*.log", ""),
        ("**/passwd", ""),
        (".env", ""),
    ],
)
async def test_files_are_found_in_a_repository_and_outside_of_one(
    root: Path, tmp_path: Path, pattern: str, found: str
) -> None:
    assert await text(root, findFiles={"name_pattern": pattern}) == found
    plain = tmp_path / "plain"
    (plain / "src").mkdir(parents=True)
    for name in ("README.md", ".gitignore", "src/app.py", "src/new.py", ".env"):
        (plain / name).write_text("x")
    (plain / "link").symlink_to("/etc")
    assert await text(plain, findFiles={"name_pattern": pattern}) == found


@pytest.mark.parametrize("directory", ["..", "/etc", "outside", ".git", "none", "README.md"])
async def test_a_search_stays_inside(root: Path, directory: str) -> None:
    await error(root, grep={"pattern": "root", "search_directory": directory})


async def test_a_search_pattern_is_no_option_and_one_line(root: Path) -> None:
    assert await text(root, grep={"pattern": "--open-files-in-pager=id"}) == "No matches found."
    for pattern in ("", "a\nb", "x" * 3000):
        assert "pattern" in await error(root, grep={"pattern": pattern})


async def test_a_search_works_outside_a_repository_and_without_git(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    (plain / "a").mkdir(parents=True)
    (plain / "a/b.txt").write_text("one TODO\n")
    (plain / ".env").write_text("TODO=secret\n")
    (plain / "link").symlink_to("/etc/passwd")
    assert await text(plain, grep={"pattern": "TO{2}DO"}) == "No matches found."
    found = "Found 1 match(es) across 1 file(s)\n\na/b.txt:1_1\none TODO"
    assert await text(plain, grep={"pattern": "T[O]DO"}) == found
    machine = await asyncio.to_thread(machine_on, plain, {"PATH": "/nonexistent"})
    answerer = await answerer_on(machine)
    action = Action(grep={"pattern": "todo", "case_insensitive": True})
    assert (await answerer.answer(action)).plainTextResponse.response == found


async def test_the_repositorys_own_settings_start_no_program(root: Path) -> None:
    for key in ("core.fsmonitor", "core.pager", "diff.external"):
        git(root, "config", key, f"touch {root}/started")
    await text(root, findFiles={"name_pattern": "*"})
    await text(root, grep={"pattern": "TODO"})
    await text(root, listDirectory={"directory": "."})
    assert not (root / "started").exists()


async def test_a_command_runs_without_a_shell_in_the_workspace(root: Path) -> None:
    ran = await text(
        root, runCommand={"program": "printf", "flags": ["%s|"], "arguments": ["$HOME", "a;b"]}
    )
    assert ran == "Exit code: 0\n$HOME|a;b|"
    assert await text(root, runCommand={"program": "pwd"}) == f"Exit code: 0\n{root}\n"
    failed = await text(root, runCommand={"program": "git", "arguments": ["nonsense"]})
    assert failed.startswith("Exit code: 1\ngit: 'nonsense' is not a git command")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ({"program": ""}, "no program"),
        ({"program": "no-such-program"}, "No such file"),
        ({"program": "true", "timeout": 0}, "timeout"),
        ({"program": "true", "timeout": 10**9}, "timeout"),
        ({"program": "true", "arguments": ["a\0b"]}, "NUL"),
    ],
)
async def test_a_command_that_cannot_run_says_why(
    root: Path, command: dict[str, object], says: str
) -> None:
    assert says in await error(root, runCommand=command)


async def test_a_command_over_time_is_killed_with_its_children(root: Path) -> None:
    pids = root / "pids"
    script = (
        "import os, subprocess, time\n"
        "print('begun', flush=True)\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(60)"
    )
    since = time.monotonic()
    answer = await ask(
        root, runCommand={"program": "python3", "arguments": ["-c", script], "timeout": 1}
    )
    assert answer.plainTextResponse.error == "Command timed out after 1s"
    assert answer.plainTextResponse.response == "begun\n"
    assert time.monotonic() - since < 10
    for pid in pids.read_text().split():
        assert await asyncio.to_thread(ended, int(pid))


def ended(pid: int) -> bool:
    """Whether a process is gone, or only waits to be counted by whoever inherited it."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


async def test_a_command_that_leaves_a_child_behind_still_ends(root: Path) -> None:
    script = "import subprocess\nprint('done',flush=True)\nsubprocess.Popen(['sleep','60'])"
    since = time.monotonic()
    ran = await text(root, runCommand={"program": "python3", "arguments": ["-c", script]})
    assert ran == "Exit code: 0\ndone\n"
    assert time.monotonic() - since < 10


async def test_a_command_that_is_cancelled_is_killed(root: Path) -> None:
    marker = root / "pid"
    script = f"import os,time\nopen({str(marker)!r},'w').write(str(os.getpid()))\ntime.sleep(60)"
    action = {"program": "python3", "arguments": ["-c", script]}

    def started() -> bool:
        return marker.exists() and marker.read_text() != ""

    async with asyncio.TaskGroup() as group:
        task = group.create_task(ask(root, runCommand=action))
        while not started():  # noqa: ASYNC110 - a process cannot be awaited by its file
            await asyncio.sleep(0.01)
        task.cancel()
    assert await asyncio.to_thread(ended, int(marker.read_text()))


async def test_a_command_that_is_cancelled_twice_at_any_moment_is_gone(root: Path) -> None:
    seconds = f"60.{os.getpid()}"  # to be told from what others start
    for steps in range(40):
        for between in range(4):
            task = asyncio.create_task(run(["sleep", seconds], root, os.environ, Bounds(50)))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            for _ in range(between):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert not await asyncio.to_thread(running, seconds)


def running(word: str) -> list[Path]:
    """The processes with a word in their command; the dead have none."""
    found: list[Path] = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if word in each.read_text():
                found.append(each)
    return found


async def test_output_keeps_its_beginning_and_its_end(root: Path) -> None:
    script = "print('first'); print('x' * 5_000_000); print('last')"
    ran = await text(root, runCommand={"program": "python3", "arguments": ["-c", script]})
    assert ran.startswith("Exit code: 0\nfirst\n")
    assert ran.endswith("\nlast\n")
    assert "bytes left out" in ran
    assert len(ran) < 300_000


async def test_a_command_sees_no_secret_of_ours(root: Path) -> None:
    secrets = {"ISTHMUS_TOKEN": "hunter2", "X_API_KEY": "k2"}
    machine = await asyncio.to_thread(machine_on, root, dict(os.environ) | secrets)
    answerer = await answerer_on(machine)
    answer = await answerer.answer(Action(runCommand={"program": "env"}))
    assert "AI_AGENT=isthmus" in answer.plainTextResponse.response
    assert "hunter2" not in answer.plainTextResponse.response
    assert "k2" not in answer.plainTextResponse.response


@pytest.mark.parametrize(
    ("name", "fields", "says"),
    [
        ("runGitCommand", {"command": "config"}, "not available"),
        ("runMCPTool", {"name": "x"}, "MCP"),
    ],
)
async def test_what_is_not_offered_is_refused(
    root: Path, name: str, fields: dict[str, str], says: str
) -> None:
    assert says in await error(root, **{name: fields})


async def test_other_kinds_of_answer_fit_their_action(root: Path) -> None:
    http = await ask(root, runHTTPRequest={"method": "GET", "path": "/api/v4/version"})
    assert "No instance is configured" in http.httpResponse.error
    timer = await ask(root, scheduleNotification={"task_id": "1"})
    assert not timer.scheduleNotificationResponse.accepted
    assert await text(root, trackLlmCallForSelfHosted={"workflowID": "1"}) == "acknowledged"
    assert "does not know" in await error(root)


async def test_a_large_answer_becomes_an_error_within_the_limit(root: Path) -> None:
    (root / "large.txt").write_text("é" * (ANSWER_LIMIT_BYTES // 2))
    answer = await ask(root, runReadFiles={"filepaths": ["large.txt", "README.md"] * 2})
    assert "size limit" in answer.plainTextResponse.error
    assert answer.ByteSize() < 1000


async def test_a_bug_is_reported_and_answered(root: Path) -> None:
    async def broken(message: object, machine: Machine) -> str:
        raise KeyError(f"{message} {machine}")

    bugs = Bugs()
    machine = await asyncio.to_thread(machine_on, root)
    answerer = Answerer({"mkdir": ActionKind("mkdir", "write", broken)}, machine, bugs)
    answer = await answerer.answer(Action(requestID="9", mkdir={"directory_path": "x"}))
    assert answer.plainTextResponse.error == "The executor failed: KeyError"
    assert bugs.told == [("mkdir", "KeyError")]
