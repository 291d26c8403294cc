"""Spans at a real collector: their names, their tree, and that nobody ever waits for them."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import pytest
from msgspec.structs import replace
from pydantic import SecretStr

from isthmus.adapters.outbound.client import open_client
from isthmus.adapters.outbound.traced import Traced
from isthmus.adapters.telemetry.collector import Sending, open_collector
from isthmus.adapters.telemetry.memory import Memory
from isthmus.adapters.telemetry.otlp import Spans
from isthmus.adapters.telemetry.pipeline import Pipeline
from isthmus.core.deadline import Deadline
from isthmus.core.errors import UpstreamUnreachable
from isthmus.core.events import (
    HttpServed,
    Noted,
    RelayClosed,
    RpcServed,
    SessionEnded,
    ToolCalled,
)
from isthmus.core.messages import OutboundRequest, Usage
from isthmus.core.ports import OutboundReply
from isthmus.core.session_facts import ActionAnswered
from isthmus.core.trace import TRACE, Trace, deepen
from isthmus.settings import OutboundSettings, TracingSettings
from tests.contract.outbound.rawserver import RealClock
from tests.support.otlp import Collected, collecting
from tests.unit.adapters.telemetry.facts import CALLED, SECRET, SERVED

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collected() -> Iterator[Collected]:
    with collecting() as found:
        yield found


async def alone(work: Coroutine[None, None, None]) -> None:
    """Run it in a context of its own, as a server runs a request."""
    async with asyncio.TaskGroup() as group:
        group.create_task(work)


@dataclass
class Desk:
    spans: Spans
    pipeline: Pipeline
    memory: Memory

    async def request(self, parent: str, *facts: HttpServed) -> None:
        """Facts that are told in the task of a request with this parent."""

        async def serve() -> None:
            TRACE.set(self.spans.traces.begin(parent))
            for fact in facts:
                self.pipeline.emit(fact)

        await alone(serve())


@asynccontextmanager
async def open_desk(collected: Collected, **given: object) -> AsyncIterator[Desk]:
    settings = TracingSettings.model_validate({"endpoint": collected.url, **given})
    spans, memory = Spans(settings, "staging", lambda: 1_700_000_000.0), Memory()
    pipeline = Pipeline([spans.take, memory], tap=spans.tap)
    async with open_client(OutboundSettings(), RealClock()) as outbound:
        sending = Sending(outbound, RealClock(), pipeline, lambda: 0.0)
        async with open_collector((spans.stream,), sending, 5.0):
            yield Desk(spans, pipeline, memory)


async def test_a_request_and_its_model_call_are_one_trace(collected: Collected) -> None:
    usage = Usage(10, 3, cache_read_tokens=7, cache_write_tokens=2, reasoning_tokens=1)
    called = replace(CALLED, usage=usage, deployment="eu", cost=1_500, tries=2, provider="vertex")
    headers = {"x-key": SecretStr("k")}
    async with open_desk(collected, headers=headers) as desk:

        async def serve() -> None:
            TRACE.set(desk.spans.traces.begin(CALLER))
            desk.pipeline.emit(called)
            desk.pipeline.emit(SERVED)

        await alone(serve())
    [model] = collected.named("chat claude")
    [request] = collected.named("POST /v2/code/completions")
    assert request.trace_id == model.trace_id == CALLER[3:35]
    assert request.parent_id == CALLER[36:52]
    assert model.parent_id == request.span_id != model.span_id
    assert (request.kind, model.kind) == (2, 3)
    assert (request.seconds, model.seconds) == pytest.approx((70.0, 0.7), abs=1e-6)
    assert request.resource == {
        "service.name": "isthmus",
        "service.version": request.resource["service.version"],
        "deployment.environment.name": "staging",
    }
    assert request.attributes["http.route"] == "/v2/code/completions"
    assert request.attributes["url.path"] == "/v2/code/completions"
    assert request.attributes["http.response.status_code"] == 200
    assert model.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "gcp.vertex_ai",
        "gen_ai.request.model": "claude",
        "gen_ai.request.stream": True,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.time_to_first_chunk": 0.2,
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 7,
        "gen_ai.usage.cache_creation.input_tokens": 2,
        "gen_ai.usage.reasoning.output_tokens": 1,
        "isthmus.cost_usd": 0.0015,
        "isthmus.deployment": "eu",
        "isthmus.feature": "code_completions",
        "isthmus.tries": 2,
    }
    assert collected.headers[0]["x-key"] == "k"
    assert collected.headers[0]["content-type"] == "application/json"


async def test_a_session_its_models_and_its_tools_are_one_tree(collected: Collected) -> None:
    async with open_desk(collected) as desk:
        emit = desk.pipeline.emit

        async def session() -> None:
            deepen()
            emit(CALLED)
            emit(ToolCalled("7", "chat", "read_file", 0.2, "ToolRefused"))
            emit(ActionAnswered("7", "runReadFile", 0.1))
            emit(ActionAnswered("7", "runHTTPRequest", 0.4, "GET", "/api/v4/projects/:id", 503))
            emit(SessionEnded("7", "chat", "failed", "model", 2.0, 3))

        async def rpc() -> None:
            TRACE.set(desk.spans.traces.begin())
            await alone(session())
            emit(RpcServed("/DuoWorkflow/ExecuteWorkflow", "B", "UNAVAILABLE", "", 3.0, "", ""))
            emit(RelayClosed("7", 1000, "OK", "", 3.0))

        await alone(rpc())
    [call] = collected.named("DuoWorkflow/ExecuteWorkflow")
    [agent] = collected.named("invoke_agent chat")
    [tool] = collected.named("execute_tool read_file")
    [model] = collected.named("chat claude")
    assert call.parent_id == ""
    assert agent.parent_id == call.span_id
    [read] = collected.named("client runReadFile")
    [asked] = collected.named("client runHTTPRequest")
    inside = {span.parent_id for span in (tool, model, read, asked)}
    assert inside == {agent.span_id}
    assert (read.kind, read.error, asked.error) == (3, "", "503")
    assert asked.attributes == {
        "gen_ai.conversation.id": "7",
        "isthmus.action": "runHTTPRequest",
        "http.request.method": "GET",
        "http.response.status_code": 503,
        "url.template": "/api/v4/projects/:id",
        "error.type": "503",
    }
    assert len({span.trace_id for span in collected.spans}) == 1
    assert call.attributes["rpc.grpc.status_code"] == 14
    assert (call.error, agent.error, tool.error) == ("UNAVAILABLE", "model", "ToolRefused")
    assert tool.attributes["gen_ai.tool.name"] == "read_file"
    assert agent.attributes["gen_ai.conversation.id"] == "7"
    assert [span.kind for span in (call, agent, tool, model)] == [2, 1, 1, 3]


async def test_no_span_holds_a_secret_and_hostile_text_is_cut(collected: Collected) -> None:
    hostile = replace(SERVED, user_agent=SECRET, path=f"/{SECRET}?x", client="x" * 9_999 + ":1")
    async with open_desk(collected) as desk:
        await desk.request("", replace(hostile, route="\ud800"))
    [span] = collected.spans
    assert SECRET not in str(span)
    assert len(str(span.attributes["client.address"])) == 1_024


async def test_what_is_not_sent_or_in_no_request_makes_no_span(collected: Collected) -> None:
    async with open_desk(collected, share=0.0) as desk:
        await desk.request("", SERVED)
        await desk.request(CALLER[:-2] + "00", SERVED)
        desk.pipeline.emit(SERVED)
        await desk.request(CALLER, replace(SERVED, route="/monitoring/ready"))
        await desk.request(CALLER, SERVED)
    assert len(collected.spans) == 1


async def test_spans_wait_while_the_collector_is_down_and_no_longer(collected: Collected) -> None:
    collected.statuses = [503]
    async with open_desk(collected, batch_size=1) as desk:
        await desk.request("", SERVED)
        desk.pipeline.drain()
        await asyncio.to_thread(collected.wait_for, "POST /v2/code/completions")
    assert [span.name for span in collected.spans] == ["POST /v2/code/completions"]
    assert "a collector takes no events" in [fact.event for fact in desk.memory.of(Noted)]


async def test_spans_that_find_no_room_are_counted(collected: Collected) -> None:
    async with open_desk(collected, queue_limit=3) as desk:
        await desk.request("", *[SERVED] * 10)
    assert len(collected.spans) == 3
    desk.pipeline.drain()
    lost = [fact for fact in desk.memory.of(Noted) if fact.event == "events were dropped"]
    assert sum(int(dict(fact.details)["count"]) for fact in lost) == 7
    assert {dict(fact.details)["stream"] for fact in lost} == {"traces"}


class Unreachable:
    """An Outbound that notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[OutboundRequest] = []

    def open(
        self, request: OutboundRequest, deadline: Deadline
    ) -> AbstractAsyncContextManager[OutboundReply]:
        del deadline
        self.asked.append(request)
        raise UpstreamUnreachable("nobody is there")


def test_a_provider_is_told_the_trace_only_where_there_is_one() -> None:
    far = Unreachable()
    request = OutboundRequest("POST", "http://a/", (("a", "b"),))
    deadline = Deadline(1.0, 1.0, 1.0, 1.0)
    with pytest.raises(UpstreamUnreachable):
        Traced(far).open(request, deadline)
    token = TRACE.set(Trace("0" * 31 + "1", "0" * 15 + "2"))
    with pytest.raises(UpstreamUnreachable):
        Traced(far).open(request, deadline)
    TRACE.reset(token)
    assert far.asked[0] is request
    assert far.asked[1].headers == (("a", "b"), ("traceparent", f"00-{'0' * 31}1-{'0' * 15}2-01"))
