"""Tools of our own MCP servers, in whole sessions: offered, asked for, run here, and distrusted."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from isthmus.adapters.mcp.servers import open_servers
from isthmus.contract.contract_pb2 import Approval, McpTool
from isthmus.core.workflow import NewWorkflow, Terms
from isthmus.platform.trust import frame_of
from isthmus.settings import McpServer
from tests.support.memory_store import MemoryWorkflows
from tests.support.scripted_models import Line, ScriptedModels, say, use
from tests.support.session_client import TOOLS, Stand, chat
from tests.support.sink import MemorySink

SAMPLE = str(Path(__file__).parents[1] / "executor" / "mcp_sample.py")
APPROVE = Approval(approval=Approval.Approved())
SHOUT = use(("c1", "demo_shout", '{"text":"hi"}'))
OWNER = "user-1"


@asynccontextmanager
async def serving(
    *lines: Line, workflows: MemoryWorkflows | None = None, **fields: Any
) -> AsyncIterator[Stand]:
    server = McpServer(command=sys.executable, args=(SAMPLE,), **fields)
    async with open_servers({"demo": server}, TOOLS, MemorySink()) as servers:
        stand = Stand(ScriptedModels(*lines), workflows=workflows, served=servers.offered)
        async with stand.serving():
            yield stand


async def test_a_call_asks_and_then_runs_here() -> None:
    async with serving(SHOUT, say("Done.")) as stand:
        asked = await stand.stream(chat("shout"))
        told = await stand.stream(chat("", approval=APPROVE))
    assert asked.statuses[-1] == "TOOL_CALL_APPROVAL_REQUIRED"
    assert told.statuses[-1] == "INPUT_REQUIRED"
    assert told.work == []
    (entry,) = (one for one in told.log() if one["message_type"] == "tool")
    assert (entry["status"], entry["tool_info"]["tool_response"]) == ("success", "HI")
    framed = frame_of("7").around("HI", "mcp")
    assert framed in str(stand.models.prompt().messages).replace("\\n", "\n")


async def test_what_the_operator_agreed_to_asks_nobody() -> None:
    async with serving(SHOUT, say("Done."), approve="always") as stand:
        told = await stand.stream(chat("shout"))
    assert told.statuses[-1] == "INPUT_REQUIRED"
    assert "request" not in told.kinds


@pytest.mark.parametrize(
    "claim", [{"ask": ["demo_shout"]}, {"deny": ["demo_shout"]}], ids=["ask", "deny"]
)
async def test_a_tokens_policy_is_above_the_operators(claim: dict[str, list[str]]) -> None:
    from isthmus.core.identity import Caller

    caller = Caller(OWNER, scopes=frozenset({"duo_chat"}), extra={"tool_access_policies": claim})
    async with serving(SHOUT, say("Well."), approve="always") as stand:
        told = await stand.stream(chat("shout"), caller=caller)
    if "ask" in claim:
        assert told.statuses[-1] == "TOOL_CALL_APPROVAL_REQUIRED"
    else:
        (entry,) = (one for one in told.log() if one["message_type"] == "tool")
        assert entry["status"] == "failure"


async def test_secrets_in_an_answer_are_hidden() -> None:
    secret = use(("c1", "demo_variable", '{"name":"OWN"}'))
    env = {"OWN": "the s3cret of it"}
    async with serving(secret, say("Done."), approve="always", env=env) as stand:
        told = await stand.stream(chat("look"))
    assert "s3cret" not in str(told.log())
    assert "s3cret" not in str(stand.models.prompt().messages)


async def test_a_client_cannot_take_a_servers_name() -> None:
    theirs = McpTool(name="demo_shout", description="Mine.", inputSchema="{}")
    async with serving(SHOUT, say("Done."), approve="always") as stand:
        told = await stand.stream(chat("shout", mcpTools=[theirs]))
    assert told.work == []
    assert "HI" in str(told.log())


@pytest.mark.parametrize(
    "terms", [Terms(mcp=False), Terms(privileges=(1, 2))], ids=["no mcp", "no privilege"]
)
async def test_a_session_without_leave_has_none(terms: Terms) -> None:
    workflows = MemoryWorkflows()
    await workflows.create(NewWorkflow("chat", "", OWNER, "7", terms=terms))
    async with serving(say("Hi."), workflows=workflows) as stand:
        told = await stand.stream(chat("shout"))
    assert told.error is None
    assert not [tool.name for tool in stand.models.prompt().tools if "demo" in tool.name]


async def test_a_session_starts_without_a_server_that_is_down() -> None:
    server = McpServer(command="no-such-program")
    async with open_servers({"demo": server}, TOOLS, MemorySink()) as servers:
        stand = Stand(ScriptedModels(SHOUT, say("Oh.")), served=servers.offered)
        async with stand.serving():
            told = await stand.stream(chat("shout"))
    assert told.statuses[-1] == "INPUT_REQUIRED"
    (entry,) = (one for one in told.log() if one["message_type"] == "tool")
    assert entry["status"] == "failure"
