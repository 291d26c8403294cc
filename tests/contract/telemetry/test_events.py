"""Product and billing events: from facts to the body that a collector on a socket receives."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import cast

import pytest

from isthmus.adapters.outbound.client import open_client
from isthmus.adapters.telemetry.collector import Sending, Stream, open_collector
from isthmus.adapters.telemetry.events import Events, stream_of
from isthmus.adapters.telemetry.memory import Memory
from isthmus.adapters.telemetry.pipeline import Pipeline
from isthmus.adapters.telemetry.snowplow import Structured
from isthmus.core.events import (
    REQUEST_ID,
    Fact,
    FeatureUsed,
    ModelCalled,
    ModelUse,
    Noted,
    SessionBilled,
    SuggestionAsked,
)
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.messages import Usage
from isthmus.settings import EventStream, OutboundSettings
from tests.contract.outbound.rawserver import Peer, RawServer, RealClock, serving

AT_S = 1_790_000_000.25
CALLER = Caller(
    "instance-1",
    realm="saas",
    instance_uid="uid-1",
    global_user_id="user-1",
    extra={"gitlab_root_namespace_id": "9"},
)
CLIENT = ClientInfo(
    {
        "x-gitlab-instance-id": "instance-1",
        "x-gitlab-host-name": "gitlab.test",
        "x-gitlab-version": "18.1.0",
        "x-gitlab-project-id": "12",
        "x-gitlab-namespace-id": "not a number",
        "x-gitlab-organization-id": "null",
        "x-gitlab-user-id": "5",
        "x-gitlab-subject-type": "User",
        "x-gitlab-is-team-member": "True",
        "x-gitlab-feature-enabled-by-namespace-ids": "1, x,2,",
        "x-gitlab-feature-enablement-type": "duo_pro",
        "x-gitlab-client-name": "vscode",
        "x-gitlab-interface": "ide",
        "x-gitlab-deployment-type": ".com",
        "x-gitlab-tracking-context": '{"a":1,"kind":"theirs","note":"glpat-' + "x" * 20 + '"}',
    }
)
USED = FeatureUsed(
    "complete_code",
    CALLER,
    CLIENT,
    billed="code_completions",
    feature="code_suggestions",
    details=(("kind", "ours"),),
)
STANDARD = {
    "environment": "production",
    "source": "ai-gateway-python",
    "realm": "saas",
    "instance_id": "instance-1",
    "unique_instance_id": "uid-1",
    "host_name": "gitlab.test",
    "instance_version": "18.1.0",
    "global_user_id": "user-1",
    "user_type": "User",
    "context_generated_at": "2026-09-21T14:13:20.250000Z",
    "extra": {"a": 1, "kind": "ours", "note": "[REDACTED]"},
    "is_gitlab_team_member": True,
    "feature_enabled_by_namespace_ids": [1, 2],
    "project_id": 12,
    "namespace_id": None,
    "ultimate_parent_namespace_id": 9,
    "plan": None,
    "correlation_id": "req-1",
    "feature_enablement_type": "duo_pro",
    "client_name": "vscode",
    "client_version": None,
    "client_type": None,
    "interface": "ide",
    "input_tokens": None,
    "output_tokens": None,
    "total_tokens": None,
    "model_engine": None,
    "model_name": None,
    "model_provider": None,
    "deployment_type": ".com",
    "organization_id": None,
}
CALLED_TOKENS = {"input_tokens": 10, "output_tokens": 4, "total_tokens": 14}
AI = {
    "session_id": None,
    "workflow_id": None,
    "flow_type": None,
    "agent_name": None,
    **CALLED_TOKENS,
    "ephemeral_5m_input_tokens": None,
    "ephemeral_1h_input_tokens": None,
    "cache_read": 3,
    "cache_creation": 0,
}
BILLABLE = {
    "event_id": "id-2",
    "event_type": "code_completions",
    "unit_of_measure": "request",
    "quantity": 1,
    "realm": "SaaS",
    "timestamp": "2026-09-21T14:13:20.250000Z",
    "subject": "5",
    "subject_type": "User",
    "assignments": ["duo_pro"],
    "seat_ids": None,
    "deployment_type": ".com",
    "correlation_id": "req-1",
    "instance_id": "instance-1",
    "unique_instance_id": "uid-1",
    "instance_version": "18.1.0",
    "host_name": "gitlab.test",
    "project_id": 12,
    "namespace_id": None,
    "root_namespace_id": 9,
    "global_user_id": "user-1",
    "organization_id": None,
    "metadata": {
        "feature_qualified_name": "code_suggestions",
        "feature_ai_catalog_item": None,
        "execution_environment": None,
        "llm_operations": [
            {
                "token_count": 14,
                "model_id": "claude-x",
                "model_engine": "anthropic",
                "model_provider": "anthropic",
                "prompt_tokens": 10,
                "completion_tokens": 4,
                "agent_name": None,
                "cache_read_tokens": 3,
                "cache_write_tokens": 0,
                "operation_type": None,
            }
        ],
        "tool_names": [],
        "orbit_called": False,
        "is_gitlab_team_member": True,
    },
}


USAGE = Usage(10, 4, 3)


def called(
    *,
    usage: Usage | None = USAGE,
    error: str = "none",
    finish: str = "stop",
    primitive: str = "complete_code",
    first_byte_s: float = 0.1,
) -> ModelCalled:
    return ModelCalled(
        "anthropic",
        "anthropic",
        "claude-x",
        "code_completions",
        primitive,
        False,
        1.0,
        first_byte_s,
        usage,
        error,
        finish,
    )


@dataclass
class Collector:
    """Answers every batch with the next of `statuses`, then 200; keeps the bodies."""

    statuses: list[int] = field(default_factory=list[int])
    server: RawServer = field(default_factory=RawServer)

    async def answer(self, peer: Peer) -> None:
        while True:
            await peer.read()
            status = self.statuses.pop(0) if self.statuses else 200
            await peer.write(b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n\r\nok" % status)

    @property
    def batches(self) -> list[list[dict[str, str]]]:
        found: list[list[dict[str, str]]] = []
        for request in self.server.requests:
            head, _, body = request.partition(b"\r\n\r\n")
            assert head.startswith(b"POST /c/com.snowplowanalytics.snowplow/tp2 HTTP/1.1\r\n")
            assert b"content-type: application/json; charset=utf-8" in head.lower()
            read = json.loads(body)
            assert read["schema"].endswith("snowplow/payload_data/jsonschema/1-0-4")
            found.append(read["data"])
        return found

    def events(self) -> list[dict[str, str]]:
        return [event for batch in self.batches for event in batch]


@dataclass
class Desk:
    """Facts in, events out; `memory` hears what the senders tell."""

    pipeline: Pipeline
    memory: Memory
    streams: dict[str, Stream[Structured]]

    def tell(self, *facts: Fact, request_id: str = "req-1") -> None:
        token = REQUEST_ID.set(request_id)
        for fact in facts:
            self.pipeline.emit(fact)
        REQUEST_ID.reset(token)
        self.pipeline.drain()


@asynccontextmanager
async def open_desk(
    collector: Collector, *names: str, batch_size: int = 1, limit: int = 100, drain_s: float = 5.0
) -> AsyncIterator[Desk]:
    async with (
        serving(collector.answer) as collector.server,
        open_client(OutboundSettings(), RealClock()) as outbound,
    ):
        url = f"http://localhost:{collector.server.port}/c/"
        settings = EventStream(enabled=True, endpoint=url, app_id="app", batch_size=batch_size)
        streams = {name: stream_of(name, settings, limit) for name in names}
        memory, ids = Memory(), map("id-{}".format, count())
        events = Events(streams, "production", "us-east1", lambda: next(ids))
        pipeline = Pipeline([events.take, memory], lambda: AT_S)
        sending = Sending(outbound, RealClock(), pipeline, lambda: 0.0)
        async with open_collector(tuple(streams.values()), sending, drain_s):
            yield Desk(pipeline, memory, streams)


def contexts(event: dict[str, str]) -> dict[str, object]:
    """Schema -> data of what an event carries."""
    held = json.loads(base64.urlsafe_b64decode(event["cx"]))
    assert held["schema"] == "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1"
    return {each["schema"]: each["data"] for each in held["data"]}


async def test_a_stream_of_a_session_is_one_billing_event() -> None:
    collector = Collector()
    uses = ModelUse("agent", "claude-x", "anthropic", "vertex", 10, 4, 3, 2, "compaction_auto")
    used = (("model", uses), ("tool", "read_file"), ("tool", "token glpat-abcDEF123_-ghiJKL456"))
    async with open_desk(collector, "billing", "product") as desk:
        desk.tell(SessionBilled("77", "developer", True, CALLER, CLIENT, used))
    (event,) = collector.events()
    assert event["se_ac"] == "duo_agent_platform_workflow_completion"
    (told,) = contexts(event).values()
    about: dict[str, object] = {**BILLABLE, "event_id": "id-0", "event_type": event["se_ac"]}
    about["metadata"] = {
        "feature_qualified_name": "developer",
        "feature_ai_catalog_item": True,
        "execution_environment": "duo_agent_platform",
        "llm_operations": [
            {
                "token_count": 14,
                "model_id": "claude-x",
                "model_engine": "anthropic",
                "model_provider": "vertex",
                "prompt_tokens": 10,
                "completion_tokens": 4,
                "agent_name": "agent",
                "cache_read_tokens": 3,
                "cache_write_tokens": 2,
                "operation_type": "compaction_auto",
            }
        ],
        "tool_names": ["read_file", "token [REDACTED]"],
        "orbit_called": False,
        "is_gitlab_team_member": True,
        "workflow_id": "77",
    }
    assert told == about


async def test_one_completion_is_four_events_each_exactly_so() -> None:
    collector = Collector()
    async with open_desk(collector, "product", "billing", batch_size=10) as desk:
        desk.tell(USED, called())
    events = {event["eid"]: event for event in collector.events()}
    names = {key: event["se_ac"] for key, event in sorted(events.items())}
    assert names == {
        "id-0": "request_complete_code",
        "id-1": "token_usage_complete_code",
        "id-2": "code_completions",
        "id-3": "usage_billing_event",
    }
    used = dict(events["id-0"])
    assert used.pop("stm").isdecimal()
    assert used.pop("tv").startswith("isthmus-")
    held = contexts(used)
    del used["cx"]
    assert used == {
        "e": "se",
        "p": "srv",
        "tna": "gl",
        "aid": "app",
        "eid": "id-0",
        "dtm": "1790000000250",
        "se_ca": "isthmus.gateway",
        "se_ac": "request_complete_code",
    }
    none = dict.fromkeys(AI)
    assert held == {
        "iglu:com.gitlab/gitlab_standard/jsonschema/1-1-8": STANDARD,
        "iglu:com.gitlab/ai_context/jsonschema/1-0-1": none,
    }
    model = {"model_engine": "anthropic", "model_name": "claude-x", "model_provider": "anthropic"}
    assert contexts(events["id-1"]) == {
        "iglu:com.gitlab/gitlab_standard/jsonschema/1-1-8": STANDARD | CALLED_TOKENS | model,
        "iglu:com.gitlab/ai_context/jsonschema/1-0-1": AI,
    }
    paid = contexts(events["id-2"])
    assert paid == {"iglu:com.gitlab/billable_usage/jsonschema/1-0-3": BILLABLE}
    assert events["id-3"]["se_la"] == "id-2"


@pytest.mark.parametrize(
    ("billed", "call", "paid"),
    [
        ("code_completions", called(), True),
        ("code_completions", called(usage=Usage(10, 0)), False),
        ("code_completions", called(usage=None), True),
        ("code_completions", called(usage=None, first_byte_s=0.0), False),
        ("code_completions", called(error="overloaded"), False),
        ("code_completions", called(finish="cancelled"), False),
        ("code_completions", called(primitive="generate_code"), False),
        ("code_generations", called(usage=Usage(10, 0)), True),
        ("code_generations", called(usage=None), True),
        ("ai_gateway_proxy_use", called(), True),
        ("ai_gateway_proxy_use", called(usage=None), False),
        ("", called(), False),
    ],
)
async def test_what_is_paid_for(billed: str, call: ModelCalled, paid: bool) -> None:
    collector = Collector()
    async with open_desk(collector, "billing") as desk:
        desk.tell(FeatureUsed("complete_code", CALLER, CLIENT, billed), call)
    assert [event["se_ac"] for event in collector.events()] == [billed] * paid


async def test_a_call_belongs_to_the_feature_of_its_own_request() -> None:
    other = FeatureUsed("generate_code", Caller("other"), ClientInfo(), "code_generations")
    collector = Collector()
    async with open_desk(collector, "billing") as desk:
        desk.tell(USED, other)
        desk.tell(called(), request_id="req-2")
        desk.tell(called(primitive="generate_code"))
    (event,) = collector.events()
    (paid,) = contexts(event).values()
    assert isinstance(paid, dict)
    paid = cast("dict[str, object]", paid)
    assert (paid["event_type"], paid["realm"]) == ("code_generations", None)


async def test_the_older_event_of_a_suggestion() -> None:
    collector = Collector()
    async with open_desk(collector, "suggestions") as desk:
        desk.tell(USED, SuggestionAsked("python", "py", "python"))
        desk.tell(SuggestionAsked("python", "py", "python"), request_id="nobody")
    (event,) = collector.events()
    assert (event["se_ca"], event["se_ac"]) == ("code_suggestions", "suggestion_requested")
    (held,) = contexts(event).values()
    assert isinstance(held, dict)
    assert (held["language"], held["gitlab_realm"], held["region"]) == (
        "python",
        "saas",
        "us-east1",
    )
    assert (held["suggestion_source"], held["is_direct_connection"]) == ("network", False)


def hostile() -> Iterator[ClientInfo]:
    for context in ("[1]", "{", '{"a":' * 900, '{"a":"' + "x" * 5000 + '"}', "\xff{}", '{"a":NaN}'):
        yield ClientInfo({"x-gitlab-tracking-context": context, "x-gitlab-project-id": "1e9"})


async def test_what_clients_say_of_themselves_never_stops_an_event() -> None:
    collector = Collector()
    async with open_desk(collector, "product") as desk:
        for client in hostile():
            desk.tell(FeatureUsed("duo_chat", Caller("x", realm="\ud800" * 3), client))
            desk.tell(FeatureUsed("duo_chat", Caller("x"), client))
    events = collector.events()
    assert len(events) == 6
    for event in events:
        standard = cast("dict[str, object]", next(iter(contexts(event).values())))
        assert (standard["extra"], standard["project_id"]) == ({}, None)
    desk.pipeline.drain()
    lost = [dict(fact.details)["count"] for fact in desk.memory.of(Noted)]
    assert sum(map(int, lost)) == 6


async def test_batches_fill_up_and_the_rest_leaves_when_it_drains() -> None:
    collector = Collector()
    async with open_desk(collector, "product", batch_size=4) as desk:
        desk.tell(*[USED] * 10)
    assert sorted(map(len, collector.batches)) == [2, 4, 4]


async def test_a_collector_that_is_busy_gets_the_batch_again() -> None:
    collector = Collector(statuses=[503])
    async with open_desk(collector, "product") as desk:
        desk.tell(USED)
        async with asyncio.timeout(5):
            while len(collector.server.requests) < 2:  # noqa: ASYNC110 - a socket has no event
                await asyncio.sleep(0.01)
    assert [event["eid"] for event in collector.events()] == ["id-0", "id-0"]
    desk.pipeline.drain()
    (note,) = desk.memory.of(Noted)
    assert dict(note.details) == {"stream": "product", "status": "503"}


async def test_a_batch_that_is_refused_is_not_sent_again() -> None:
    collector = Collector(statuses=[400])
    async with open_desk(collector, "product") as desk:
        desk.tell(USED)
        await collector.server.asked.wait()
        desk.tell(USED)
    assert [event["eid"] for event in collector.events()] == ["id-0", "id-1"]


async def test_what_finds_no_room_is_dropped_and_counted() -> None:
    collector = Collector()
    async with open_desk(collector, "product", limit=3) as desk:
        desk.tell(*[USED] * 8)
        assert len(desk.streams["product"]) == 3
    assert len(collector.events()) == 3
    desk.pipeline.drain()
    lost = [dict(fact.details) for fact in desk.memory.of(Noted)]
    assert lost == [{"stream": "product", "count": "5"}]


async def test_a_collector_that_is_gone_stops_nobody() -> None:
    collector = Collector()
    began_s = asyncio.get_running_loop().time()
    async with open_desk(collector, "product", drain_s=0.2) as desk:
        collector.statuses += [500] * 100
        desk.tell(*[USED] * 20)
    assert asyncio.get_running_loop().time() - began_s < 3
    desk.pipeline.drain()
    notes = [dict(fact.details) for fact in desk.memory.of(Noted)]
    assert {"stream": "product", "count": "20"} in notes
