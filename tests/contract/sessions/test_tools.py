"""Tools of a session that the client brings, or that its owner allowed before."""

import json
from dataclasses import replace

from isthmus.contract.contract_pb2 import Action, Approval, McpTool
from isthmus.core.approval import with_call
from isthmus.core.events import ToolCalled
from isthmus.core.workflow import NewWorkflow, Terms, ToolApproval, Workflow
from tests.support.scripted_models import ScriptedModels, say, use
from tests.support.session_client import CALLER, Stand, chat

FIND = McpTool(name="srv.find", description="Finds.", inputSchema='{"type":"object"}')
ASK = use(("c1", "srv_find", '{"q":"x"}'))
APPROVE = Approval(approval=Approval.Approved())


async def test_a12_44_a_tool_of_the_client_runs_once_it_was_approved() -> None:
    stand = Stand(ScriptedModels(ASK, say("done")))
    async with stand.serving():
        first = await stand.stream(chat("go", mcpTools=[FIND]))
        second = await stand.stream(chat(approval=APPROVE, mcpTools=[FIND]))
    assert first.statuses[-1] == "TOOL_CALL_APPROVAL_REQUIRED"
    assert first.log()[-1]["tool_info"] == {"name": "srv_find", "args": {"q": "x"}}
    (sent,) = (action.runMCPTool for action in second.work)
    assert (sent.name, json.loads(sent.args)) == ("srv.find", {"q": "x"})
    assert second.statuses[-1] == "INPUT_REQUIRED"
    assert [fact.tool for fact in stand.sink.of(ToolCalled)] == ["mcp"]


async def test_i7_63_doubled_names_and_an_empty_approval_are_tolerated() -> None:
    stand = Stand(ScriptedModels(ASK, say("done")))
    names = ["srv.find", "srv.find", "read_file", "read_file"]
    async with stand.serving():
        told = await stand.stream(
            chat("go", mcpTools=[FIND, FIND], preapproved_tools=names, approval=Approval())
        )
    assert told.error is None
    assert [action.WhichOneof("action") for action in told.work] == ["runMCPTool"]


async def test_a_tool_that_is_not_there_any_more_is_told_to_the_model() -> None:
    stand = Stand(ScriptedModels(ASK, say("done")))
    async with stand.serving():
        await stand.stream(chat("go", mcpTools=[FIND]))
        told = await stand.stream(chat(approval=APPROVE))
    assert told.error is None
    assert told.work == []
    assert "no tool named" in str(stand.models.prompt().messages[-1])


async def test_what_was_asked_for_goes_on_where_a_tool_of_the_same_answer_is_gone() -> None:
    both = use(("c1", "srv_find", '{"q":"x"}'), ("c2", "mkdir", '{"directory_path":"d"}'))
    stand = Stand(ScriptedModels(both, say("done")))
    async with stand.serving():
        await stand.stream(chat("go", mcpTools=[FIND]))
        told = await stand.stream(chat(approval=APPROVE))
    # Both could be made when they came, and the user agreed: the one that still can be is.
    assert [action.WhichOneof("action") for action in told.work] == ["mkdir"]


async def test_a12_58_what_the_owner_allowed_runs_at_once() -> None:
    def allow(record: Workflow) -> Workflow:
        approval = with_call(ToolApproval(), '{"directory_path":"d"}')
        return replace(record, approvals={"mkdir": approval})

    lines = (
        use(("c1", "mkdir", '{"directory_path": "d"}')),
        say("ok"),
        use(("c2", "mkdir", '{"directory_path": "e"}')),
    )
    stand = Stand(ScriptedModels(*lines))
    await stand.workflows.create(NewWorkflow("chat", "", CALLER.subject, "7"))
    await stand.workflows.change("7", allow)
    async with stand.serving():
        same = await stand.stream(chat("go"))
        other = await stand.stream(chat("and another"))
    assert [action.WhichOneof("action") for action in same.work] == ["mkdir"]
    assert same.statuses[-1] == "INPUT_REQUIRED"
    assert other.work == []
    assert other.statuses[-1] == "TOOL_CALL_APPROVAL_REQUIRED"


async def test_privileges_of_the_record_limit_what_a_model_is_offered() -> None:
    stand = Stand(ScriptedModels(use(("c1", "mkdir", '{"directory_path":"d"}')), say("ok")))
    await stand.workflows.create(
        NewWorkflow("chat", "", CALLER.subject, "7", terms=Terms(privileges=(8,)))
    )
    async with stand.serving():
        told = await stand.stream(chat("go", preapproved_tools=["mkdir"]))
    offered = {tool.name for tool in stand.models.prompt().tools}
    assert offered == {"read_file", "list_dir", "find_files", "grep"}
    assert told.work == []


async def test_a12_41_a_client_with_a_shell_is_asked_for_whole_lines() -> None:
    line = use(
        ("c1", "run_command", '{"command":"ls | wc"}'), ("c2", "read_file", '{"file_path":"a"}')
    )
    able = ["shell_command", "command_timeout", "read_file_chunked", "unheard_of"]
    stand = Stand(ScriptedModels(line, say("ok")))
    async with stand.serving():
        told = await stand.stream(
            chat("go", clientCapabilities=able, preapproved_tools=["run_command"])
        )
    sent: dict[str | None, Action] = {a.WhichOneof("action"): a for a in told.work}
    assert set(sent) == {"runShellCommand", "runReadFile"}
    assert sent["runShellCommand"].runShellCommand.timeout == 120
    assert sent["runReadFile"].runReadFile.limit == 2000
