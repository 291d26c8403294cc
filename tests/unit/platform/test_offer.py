"""Which tools are on offer, and what of them was agreed beforehand."""

from dataclasses import replace
from typing import Any

import pytest

from isthmus.contract.contract_pb2 import McpTool, StartWorkflowRequest
from isthmus.core.approval import with_call, with_pattern
from isthmus.core.identity import ClientInfo
from isthmus.core.workflow import Terms, ToolApproval
from isthmus.platform import calls, start
from isthmus.platform.offer import Given, Wishes, kit
from isthmus.platform.policy import Allow, Ask, Verdict
from isthmus.platform.toolbox import all_tools

TOOLS = all_tools()
READS = {"read_file", "list_dir", "find_files", "grep"}
WRITES = {"create_file_with_contents", "edit_file", "mkdir"}
ALL = Wishes(tuple(TOOLS))
CLIENT = ClientInfo({"x-gitlab-version": "18.7.0"})


def given(terms: Terms | None = None, client: ClientInfo = CLIENT, **fields: Any) -> Given:
    said = StartWorkflowRequest(workflowID="7", **fields)
    return Given(start.read(said, client), client, terms or Terms(), {})


def verdict(given: Given, name: str, args: str, wishes: Wishes = ALL) -> Verdict:
    found = kit(wishes, given, TOOLS)
    return calls.read(calls.stored_use("c", name, args), found.tools, found.policy).verdict


@pytest.mark.parametrize(
    ("privileges", "offered"),
    [
        ((), set[str]()),
        ((8,), {"read"}),
        ((1,), {"read", "write"}),
        ((4,), {"run"}),
        ((2,), {"gitlab_read"}),
        ((3, 5, 7, 99), {"gitlab_read", "gitlab_write", "git", "flows"}),
        (
            Terms().privileges,
            {"read", "write", "run", "git", "gitlab_read", "gitlab_write"},
        ),
    ],
)
def test_privileges_limit_the_tools(privileges: tuple[int, ...], offered: set[str]) -> None:
    found = set(kit(ALL, given(Terms(privileges)), TOOLS).tools)
    free = {"plan"}
    assert found == {
        name
        for name, tool in TOOLS.items()
        if tool.effect in offered | free and not tool.capability
    }


def test_privileges_approve_beforehand() -> None:
    agreed = given(Terms(preapproved=(1,)))
    assert verdict(agreed, "mkdir", '{"directory_path":"d"}') == Allow()
    assert verdict(agreed, "run_command", '{"program":"ls"}') == Ask()


def test_unknown_names_of_a_flow_are_left_out() -> None:
    assert set(kit(Wishes(("read_file", "blob_search")), given(), TOOLS).tools) == {"read_file"}


MCP = [McpTool(name="srv.find"), McpTool(name="read_file")]


@pytest.mark.parametrize(
    ("terms", "offered"),
    [
        (Terms(), {"srv_find"}),
        (Terms(mcp=False), set[str]()),
        (Terms(privileges=(1,)), set[str]()),
    ],
)
def test_tools_of_the_client_need_the_records_leave(terms: Terms, offered: set[str]) -> None:
    assert set(kit(Wishes(()), given(terms, mcpTools=MCP), TOOLS).tools) == offered


def test_a_flow_in_the_background_names_the_clients_tools_itself() -> None:
    session = given(mcpTools=MCP)
    assert set(kit(Wishes((), with_mcp=False), session, TOOLS).tools) == set()
    named = Wishes(("srv_find", "read_file"), with_mcp=False)
    found = kit(named, session, TOOLS).tools
    assert {name: tool.effect for name, tool in found.items()} == {
        "srv_find": "mcp",
        "read_file": "read",
    }


@pytest.mark.parametrize("name", ["srv.find", "srv_find"])
def test_the_clients_tools_are_approved_and_denied_by_either_name(name: str) -> None:
    session = given(mcpTools=MCP, preapproved_tools=[name, name])
    assert verdict(session, "srv_find", "{}") == Allow()
    denied = replace(session, claim={"deny": [name]})
    assert "srv_find" not in kit(ALL, denied, TOOLS).tools


def test_a_denied_tool_stays_denied_whatever_was_approved() -> None:
    session = given(Terms(preapproved=(1,)), preapproved_tools=["mkdir"])
    denied = replace(session, claim={"deny": ["mkdir"]})
    assert "mkdir" not in kit(ALL, denied, TOOLS).tools


def test_what_must_ask_asks_unless_the_owner_agreed_to_that_very_call() -> None:
    args = '{"directory_path": "d"}'
    session = replace(given(Terms(preapproved=(1,))), claim={"ask": ["mkdir"]})
    assert verdict(session, "mkdir", args) == Ask()
    once = replace(session, approvals={"mkdir": with_call(ToolApproval(), args)})
    assert verdict(once, "mkdir", '{"directory_path":"d"}') == Allow()
    assert verdict(once, "mkdir", '{"directory_path":"e"}') == Ask()


def test_a_pattern_of_the_owner_allows_commands() -> None:
    approval = with_pattern(ToolApproval(), "run_command", "git log *")
    session = replace(given(), approvals={"run_command": approval})
    assert verdict(session, "run_command", '{"program":"git","args":"log a"}') == Allow()
    assert verdict(session, "run_command", '{"program":"git","args":"log a; rm b"}') == Ask()


@pytest.mark.parametrize(
    ("version", "some"), [("", True), ("7.43.0", True), ("8.51.0", True), ("7.42.9", False)]
)
def test_an_editor_that_is_too_old_gets_no_tools_of_ours(version: str, *, some: bool) -> None:
    client = ClientInfo({"x-gitlab-language-server-version": version})
    offered = kit(ALL, given(client=client, mcpTools=MCP), TOOLS).tools
    assert ("read_file" in offered) is some
    assert "srv_find" in offered


def test_an_editor_with_no_readable_version_is_too_old() -> None:
    client = ClientInfo({"x-gitlab-language-server-version": "new"})
    assert "read_file" not in kit(ALL, given(client=client), TOOLS).tools
