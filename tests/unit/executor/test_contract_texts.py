"""Every action in the words of the instance contract, section 6.4, on a real repository."""

import asyncio
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from isthmus.contract.contract_pb2 import Action, ActionResponse, HttpResponse, PlainTextResponse
from isthmus.executor import actions
from isthmus.executor.action import Lent, Machine
from isthmus.executor.answer import Answerer, load_actions
from isthmus.executor.git import Git
from isthmus.executor.mask import Mask
from isthmus.executor.process import scrubbed
from isthmus.executor.workspace import Workspace

TOKEN = "flow-token-of-this-run"


class Agent:
    """One run of the executor: what was read stays known."""

    def __init__(self, root: Path, lent: Lent | None = None) -> None:
        environment = scrubbed(dict(os.environ) | {"GITLAB_OAUTH_TOKEN": TOKEN})
        workspace = Workspace(root)
        self._machine = Machine(
            workspace,
            Git(workspace, environment),
            environment,
            mask=Mask((TOKEN,)),
            lent=lent or Lent(),
        )
        self._answerer = Answerer(load_actions(actions), self._machine, _unexpected)

    async def answer(self, action: Action) -> ActionResponse:
        """The answer to one action."""
        action.requestID = "r"
        answer = await self._answerer.answer(action)
        assert answer.requestID == "r"
        return answer

    async def ask(self, action: Action) -> PlainTextResponse:
        """The same, of those that answer by text."""
        return (await self.answer(action)).plainTextResponse

    async def says(self, action: Action) -> str:
        """Its text, when it worked."""
        answer = await self.ask(action)
        assert answer.error == ""
        return answer.response

    async def fails(self, action: Action) -> str:
        """Its error."""
        answer = await self.ask(action)
        assert answer.error != ""
        return answer.error


def _unexpected(action: str, bug: Exception) -> None:
    raise AssertionError(f"{action}: {bug!r}")


def git(root: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.test", *words]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "work"
    (root / "src").mkdir(parents=True)
    (root / "src/app.py").write_text("one = 1\ntwo = 2\nthree = 3")
    (root / "src/win.txt").write_bytes(b"a\r\nb\r\n")
    (root / ".gitignore").write_text("secret/\n")
    (root / "secret").mkdir()
    (root / "secret/x.txt").write_text("one")
    git(root, "init", "-q")
    git(root, "config", "user.name", "t")
    git(root, "config", "user.email", "t@example.test")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    return root


@pytest.fixture
async def agent(root: Path) -> Agent:
    return await asyncio.to_thread(Agent, root)


def read(path: str) -> Action:
    return Action(runReadFile={"filepath": path})


def write(path: str, contents: str) -> Action:
    return Action(runWriteFile={"filepath": path, "contents": contents})


def edit(path: str, old: str, new: str) -> Action:
    return Action(runEditFile={"filepath": path, "oldString": old, "newString": new})


async def test_i7_60_files_are_read_in_the_contracts_words(root: Path, agent: Agent) -> None:
    assert await agent.says(read("src/app.py")) == "one = 1\ntwo = 2\nthree = 3"
    part = Action(runReadFile={"filepath": "src/app.py", "offset": 0, "limit": 2})
    assert await agent.says(part) == (
        "one = 1\ntwo = 2\n\n(Showing lines 1-2 of 3 total. Use offset=2 to continue reading.)"
    )
    assert await agent.fails(read("none.py")) == 'File not found: "none.py"'
    assert "ignored" in await agent.fails(read("secret/x.txt"))
    (root / "a.bin").write_bytes(b"\0\1")
    assert "binary" in await agent.fails(read("a.bin"))
    with (root / "huge.txt").open("wb") as huge:
        huge.truncate(20 * 1024 * 1024 + 1)
    assert "larger than" in await agent.fails(read("huge.txt"))
    several = Action(runReadFiles={"filepaths": ["src/app.py", "none.py"]})
    assert json.loads(await agent.says(several)) == {
        "src/app.py": {"content": "one = 1\ntwo = 2\nthree = 3"},
        "none.py": {"error": 'File not found: "none.py"'},
    }


async def test_i7_60_files_are_written_in_the_contracts_words(root: Path, agent: Agent) -> None:
    assert await agent.says(write("docs/new.md", "x\n")) == "File written successfully"
    assert (root / "docs/new.md").read_text() == "x\n"
    assert "edit tool" in await agent.fails(write("docs/new.md", "y\n"))
    assert "edit tool" in await agent.fails(write("src/app.py", "one = 1\ntwo = 2\nthree = 3"))
    assert (root / "src/app.py").read_text().endswith("three = 3")
    made = Action(mkdir={"directory_path": "a/b"})
    assert await agent.says(made) == 'Directory created successfully: "a/b"'


async def test_i7_60_a_file_must_have_been_read_to_be_edited(root: Path, agent: Agent) -> None:
    assert "not been read" in await agent.fails(edit("src/app.py", "one", "uno"))
    await agent.says(read("src/app.py"))
    assert await agent.says(edit("src/app.py", "zero", "x")) == (
        "No changes made to 'src/app.py' as 'zero' not found"
    )
    assert "ambiguous" in await agent.fails(edit("src/app.py", " = ", "="))
    done = "File 'src/app.py' has been updated."
    assert await agent.says(edit("src/app.py", "one", "uno")) == done
    assert await agent.says(edit("./src/app.py", "two", "due")) == done.replace("src", "./src")
    (root / "src/app.py").write_text("changed by somebody else: due")
    assert "modified since" in await agent.fails(edit("src/app.py", "due", "x"))
    await agent.says(read("src/win.txt"))
    await agent.says(edit("src/win.txt", "a\nb", "c\nd"))
    assert (root / "src/win.txt").read_bytes() == b"c\r\nd\r\n"
    for place in (".git/config", ".gitlab/duo/x", ".vscode/tasks.json"):
        assert "protected" in await agent.fails(edit(place, "a", "b"))


async def test_i7_60_what_was_done_before_a_cut_may_be_repeated(root: Path, agent: Agent) -> None:
    for _ in range(2):
        assert await agent.says(write("new.md", "x\n")) == "File written successfully"
    (root / "new.md").write_text("by somebody else")
    assert "edit tool" in await agent.fails(write("new.md", "x\n"))


async def test_i7_60_a_written_file_may_be_edited_at_once(root: Path, agent: Agent) -> None:
    await agent.says(write("new.md", "x\n"))
    await agent.says(edit("new.md", "x", "y"))
    assert (root / "new.md").read_text() == "y\n"


async def test_i7_60_places_are_found_in_the_contracts_words(root: Path, agent: Agent) -> None:
    for number in range(7):
        (root / f"f{number}.txt").write_text("none\n" * 3 + "needle\n" * 9)
    listing = Action(listDirectory={"directory": "src"})
    assert await agent.says(listing) == "app.py\nwin.txt"
    assert "src/" in (await agent.says(Action(listDirectory={"directory": "."}))).split("\n")
    assert await agent.says(Action(findFiles={"name_pattern": "*.py"})) == "src/app.py"
    assert await agent.says(Action(findFiles={"name_pattern": "*.rs"})) == ""
    found = await agent.says(Action(grep={"pattern": "o[n]e = ,TWO", "case_insensitive": True}))
    assert found == (
        "Found 2 match(es) across 1 file(s)\n\nsrc/app.py:1_3\none = 1\ntwo = 2\nthree = 3"
    )
    several = await agent.says(Action(grep={"pattern": "needle", "search_directory": "."}))
    assert several.startswith("Found 35 match(es) across 7 file(s)\n\nf0.txt:3_9\nnone\nneedle\n")
    assert await agent.says(Action(grep={"pattern": "nowhere"})) == "No matches found."
    assert "def main(" in await _with(root, agent, "def main():\n", "main(")


async def _with(root: Path, agent: Agent, text: str, pattern: str) -> str:
    (root / "main.py").write_text(text)
    return await agent.says(Action(grep={"pattern": pattern}))


async def test_i7_60_commands_run_in_the_contracts_words(agent: Agent) -> None:
    program = Action(runCommand={"program": "sh", "flags": ["-c"], "arguments": ["echo a; exit 3"]})
    assert await agent.says(program) == "Exit code: 3\na\n"
    line = Action(runShellCommand={"command": "echo a | tr a b; echo $((1+1)) >&2"})
    assert await agent.says(line) == "Exit code: 0\nb\n2\n"
    since = time.monotonic()
    slow = await agent.ask(Action(runShellCommand={"command": "echo a; sleep 60", "timeout": 1}))
    assert (slow.error, slow.response) == ("Command timed out after 1s", "a\n")
    assert time.monotonic() - since < 20
    assert "policy" in await agent.fails(Action(runShellCommand={"command": "true && sudo id"}))
    assert "policy" in await agent.fails(Action(runCommand={"program": "/usr/bin/sudo"}))


async def test_i7_60_programs_get_no_token_and_outputs_show_none(root: Path, agent: Agent) -> None:
    told = await agent.says(Action(runShellCommand={"command": "env"}))
    assert "AI_AGENT=" in told
    assert "GITLAB_OAUTH_TOKEN" not in told
    (root / "leak.txt").write_text(f"token: {TOKEN}\n")
    shown = await agent.says(read("leak.txt"))
    assert TOKEN not in shown
    assert shown.endswith("(Secrets in this output were masked.)")
    several = json.loads(await agent.says(Action(runReadFiles={"filepaths": ["leak.txt"]})))
    assert TOKEN not in several["leak.txt"]["content"]
    assert TOKEN not in await agent.fails(Action(runCommand={"program": TOKEN}))


async def test_i7_60_git_runs_with_checked_arguments(root: Path) -> None:
    trailers = ("Co-authored-by: Agent <a@example.test>", "Duo-Session: 7")
    login = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "demo.a", "GIT_CONFIG_VALUE_0": "b"}
    agent = await asyncio.to_thread(Agent, root, Lent(git_login=login, trailers=trailers))
    (root / "src/app.py").write_text("x")
    status = Action(runGitCommand={"command": "status", "arguments": "--short"})
    assert await agent.says(status) == "Exit code: 0\n M src/app.py\n"
    commit = Action(runGitCommand={"command": "commit", "arguments": "-a -m 'a change'"})
    assert (await agent.says(commit)).startswith("Exit code: 0\n")
    told = await asyncio.to_thread(git, root, "log", "-1", "--format=%B")
    assert told.strip() == "a change\n\n" + "\n".join(trailers)
    unsafe = Action(runGitCommand={"command": "fetch", "arguments": "--upload-pack=id ."})
    assert "Unsafe" in await agent.fails(unsafe)
    remote = Action(runGitCommand={"command": "ls-remote", "arguments": "."})
    assert "refs/heads" in await agent.says(remote)


class Elsewhere:
    """An instance and MCP servers in one: says what it was asked."""

    async def answer(self, method: str, path: str, body: str | None) -> HttpResponse:
        return HttpResponse(statusCode=404, body=f"{method} {path} {body} {TOKEN}")

    async def call(self, name: str, arguments: str) -> str:
        return f"{name} {arguments} {TOKEN}"


async def test_i7_60_the_instance_answers_unmasked_and_tools_answer_masked(root: Path) -> None:
    far = Elsewhere()
    agent = await asyncio.to_thread(Agent, root, Lent(instance=far, tools=far))
    action = Action(runHTTPRequest={"method": "GET", "path": "/api/v4/x"})
    reply = (await agent.answer(action)).httpResponse
    assert (reply.statusCode, reply.error) == (404, "")
    assert reply.body == f"GET /api/v4/x None {TOKEN}"
    told = await agent.says(Action(runMCPTool={"name": "demo_x", "args": "{}"}))
    assert told.startswith("demo_x {} ")
    assert TOKEN not in told


async def test_i7_60_what_nobody_offered_is_an_error_and_the_rest_goes_on(agent: Agent) -> None:
    assert "MCP" in await agent.fails(Action(runMCPTool={"name": "x", "args": "{}"}))
    assert await agent.fails(Action()) != ""
    assert await agent.says(Action(trackLlmCallForSelfHosted={"workflowID": "7"}))
