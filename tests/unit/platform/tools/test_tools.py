"""What each tool sends to the client, by the contract's table of tools."""

from typing import Any

import msgspec
import pytest

from isthmus.contract.contract_pb2 import Action, ActionResponse, PlainTextResponse
from isthmus.core.errors import ToolRefused
from isthmus.platform import calls
from isthmus.platform.engine.components.model_step import spec
from isthmus.platform.history import StoredUse
from isthmus.platform.policy import Allow, Deny, Policy
from isthmus.platform.toolbox import all_tools
from tests.support.instance import Machine as Stand

TOOLS = all_tools()


class Machine(Stand):
    """A client that keeps what it was asked."""

    def __init__(self, *capabilities: str, answer: str = "answer") -> None:
        self._capabilities = capabilities
        self._answer = answer
        self.asked: list[Action] = []

    async def ask(self, action: Action) -> ActionResponse:
        self.asked.append(action)
        return ActionResponse(plainTextResponse=PlainTextResponse(response=self._answer))

    def has(self, capability: str) -> bool:
        return capability in self._capabilities


async def send(machine: Machine, name: str, **args: Any) -> Action:
    tool = TOOLS[name].suited(machine.has)
    assert await tool.run(msgspec.convert(args, tool.args), machine) == "answer"
    return machine.asked[-1]


@pytest.mark.parametrize(
    ("effect", "names"),
    [
        ("read", {"find_files", "grep", "list_dir", "read_file"}),
        ("write", {"create_file_with_contents", "edit_file", "mkdir"}),
        ("run", {"run_command"}),
    ],
)
def test_the_tools_of_the_workspace_are_there(effect: str, names: set[str]) -> None:
    assert names <= {name for name, tool in TOOLS.items() if tool.effect == effect}


async def test_a12_40_read_file_and_its_window() -> None:
    plain = (await send(Machine(), "read_file", file_path="a")).runReadFile
    assert plain.filepath == "a"
    assert not plain.HasField("offset")
    assert not plain.HasField("limit")
    window = (await send(Machine("read_file_chunked"), "read_file", file_path="a")).runReadFile
    assert (window.offset, window.limit) == (0, 2000)
    assert window.HasField("offset")


async def test_reading_and_writing_actions() -> None:
    machine = Machine()
    assert (await send(machine, "list_dir", directory="d")).listDirectory.directory == "d"
    assert (await send(machine, "find_files", name_pattern="*.py")).findFiles.name_pattern == "*.py"
    grep = (await send(machine, "grep", keywords="x")).grep
    assert (grep.search_directory, grep.pattern, grep.case_insensitive) == (".", "x", True)
    write = await send(machine, "create_file_with_contents", file_path="a", contents="c")
    assert (write.runWriteFile.filepath, write.runWriteFile.contents) == ("a", "c")
    edit = (await send(machine, "edit_file", file_path="a", old_str="o", new_str="n")).runEditFile
    assert (edit.filepath, edit.oldString, edit.newString) == ("a", "o", "n")
    assert (await send(machine, "mkdir", directory_path="d")).mkdir.directory_path == "./d"
    assert (await send(machine, "mkdir", directory_path="./d")).mkdir.directory_path == "./d"


async def test_a12_41_commands_by_capability() -> None:
    plain = (await send(Machine(), "run_command", program="git", args="log -m 'a b'")).runCommand
    assert (plain.program, list(plain.arguments)) == ("git", ["log", "-m", "a b"])
    assert not plain.HasField("timeout")
    timed = Machine("shell_command", "command_timeout")
    assert (await send(timed, "run_command", command="ls | wc")).runShellCommand.timeout == 120
    given = (await send(timed, "run_command", command="ls", timeout=5)).runShellCommand
    assert (given.command, given.timeout) == ("ls", 5)


@pytest.mark.parametrize(
    "args", [{"program": "ls", "timeout": 5}, {"program": "ls", "args": "'open"}]
)
async def test_commands_that_cannot_be_sent_are_refused(args: dict[str, Any]) -> None:
    machine = Machine()
    with pytest.raises(ToolRefused):
        await send(machine, "run_command", **args)
    assert machine.asked == []


@pytest.mark.parametrize("name", ["list_dir", "find_files", "grep"])
async def test_listings_leave_protected_files_out(name: str) -> None:
    machine = Machine(answer="a.py:1\n.env:2\n")
    tool = TOOLS[name]
    args = {"list_dir": {"directory": "."}, "find_files": {"name_pattern": "*"}}
    found = await tool.run(msgspec.convert(args.get(name, {"keywords": "x"}), tool.args), machine)
    assert found == "a.py:1\n"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("grep", '{"keywords":"x","search_directory":"../y"}'),
        ("mkdir", '{"directory_path":"/abs"}'),
        ("find_files", '{"name_pattern":"../*"}'),
        ("edit_file", '{"file_path":".git/config"}'),
        ("create_file_with_contents", '{"file_path":".env","contents":""}'),
        ("list_dir", '{"directory":".ssh"}'),
        ("read_file", '{"file_path":"a","extra":1}'),
        ("read_file", '{"file_path":""}'),
        ("read_file", '{"file_path":7}'),
        ("read_file", "[]"),
        ("read_file", '{"file_path":"\\ud800"}'),
        ("read_file", "[" * 100_000),
    ],
)
def test_a12_43_calls_that_are_refused_before_anybody_is_asked(name: str, arguments: str) -> None:
    use = StoredUse(id="c", name=name, arguments=arguments)
    call = calls.read(use, TOOLS, Policy(preapproved=frozenset(TOOLS)))
    assert isinstance(call.verdict, Deny)
    assert call.verdict.reason


def test_a_good_call_is_allowed_and_titled() -> None:
    use = StoredUse(id="c", name="read_file", arguments='{"file_path":"a.py"}')
    call = calls.read(use, TOOLS, Policy(preapproved=frozenset(TOOLS)))
    assert isinstance(call.verdict, Allow)
    assert call.called.title == "Read a.py"


def test_arguments_that_do_not_parse_are_kept_out_of_the_history() -> None:
    bad = calls.stored_use("c", "my tool!", '{"a":')
    assert (bad["name"], bad["arguments"]) == ("my_tool_", "{}")
    assert bad.get("fault")
    assert calls.stored_use("c", "t", "") == {"id": "c", "name": "t", "arguments": "{}"}


@pytest.mark.parametrize("tool", TOOLS.values(), ids=lambda tool: tool.name)
def test_every_tool_has_a_schema_for_models(tool: Any) -> None:
    shown = spec(tool)
    assert shown.schema["type"] == "object"
    assert shown.schema["additionalProperties"] is False
    assert "$ref" not in str(shown.schema)
    assert shown.description
