"""A long conversation gives way to a summary, in a step of its own."""

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from isthmus.contract.contract_pb2 import StartWorkflowRequest
from isthmus.core.errors import UpstreamFailed
from isthmus.core.events import Noted
from isthmus.core.identity import Caller
from isthmus.core.messages import Delta, Text, ToolUse, Usage
from isthmus.platform import compaction
from tests.support.framed import FRAME
from tests.support.scripted_models import Line, ScriptedModels, say
from tests.support.session_client import Stand, Told, chat


def look(number: int, tokens: int = 0) -> Line:
    use = ToolUse(f"c{number}", "list_dir", '{"directory":"."}')
    return [Delta(tool_use=use), Delta(finish="tool_use", usage=Usage(tokens, 10))]


LOOKS = [*(look(number) for number in range(7)), look(7, 150_000)]


async def spoken(*lines: Line) -> tuple[Stand, Told]:
    stand = Stand(ScriptedModels(*LOOKS, *lines))
    async with stand.serving():
        return stand, await stand.stream(chat("go"))


async def test_a_long_conversation_goes_on_from_its_summary() -> None:
    stand, told = await spoken(say("All is well so far."), say("Done."))
    assert told.error is None
    asked, last = stand.models.prompt(8), stand.models.prompt(9)
    before = stand.models.prompt(7)
    assert asked.messages[:2] == before.messages[:2]
    assert asked.tools == before.tools
    assert asked.messages[-1].parts[-1] == Text(compaction.ASK)
    assert last.messages[0] == before.messages[0]
    first = last.messages[1].parts
    assert first == (Text("go"), Text(FRAME.summary("All is well so far.")))
    assert len(last.messages) < len(before.messages)
    cards = [e for e in told.log() if e["message_sub_type"] == "compaction"]
    assert [(c["message_type"], c["content"]) for c in cards] == [("tool", compaction.DONE)]
    assert told.log()[-1]["content"] == "Done."
    usage = told.notices[-1].agent_context_usage["agent"]
    assert 0 < usage.total_tokens < 10_000


async def test_a_summary_that_fails_leaves_the_conversation_as_it_was() -> None:
    broken: Line = [UpstreamFailed("no", status=500)]
    stand, told = await spoken(broken, look(8, 150_000), say("Done."))
    assert told.error is None
    assert [call.streaming for call in stand.models.asks].count(False) == 1
    assert told.log()[-1]["content"] == "Done."
    assert not [e for e in told.log() if e["message_sub_type"] == "compaction"]
    assert [n.event for n in stand.sink.of(Noted)] == ["compaction failed: UpstreamFailed"]


async def test_an_agent_that_is_not_to_be_summed_up_is_not() -> None:
    flow = {
        "version": "v1",
        "environment": "ambient",
        "components": [
            {
                "name": "worker",
                "type": "AgentComponent",
                "prompt_id": "p",
                "toolset": ["list_dir"],
                "compaction": False,
            }
        ],
        "routers": [{"from": "worker", "to": "end"}],
        "flow": {"entry_point": "worker"},
        "prompts": [{"prompt_id": "p", "prompt_template": {"user": "{{ goal }}"}}],
    }
    stand = Stand(ScriptedModels(*LOOKS, say("Done.")))
    start = StartWorkflowRequest(workflowID="7", goal="g", flowConfig=ParseDict(flow, Struct()))
    caller = Caller("user-1", scopes=frozenset({"duo_agent_platform"}))
    async with stand.serving():
        told = await stand.stream(start, caller=caller, headers={"x-gitlab-version": "18.7.0"})
    assert told.error is None
    assert told.statuses[-1] == "FINISHED"
    assert len(stand.models.asks) == len(LOOKS) + 1
