"""The gRPC edge by its wire: a real server, a real channel, a scripted host behind."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from grpc import StatusCode, aio
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from isthmus.contract.contract_pb2 import (
    Action,
    ActionResponse,
    ClientEvent,
    GenerateTokenRequest,
    HeartbeatRequest,
    ListCapabilitiesRequest,
    ListToolsRequest,
    NewCheckpoint,
    PlainTextResponse,
    StartWorkflowRequest,
    StopWorkflowRequest,
    TrackSelfHostedAction,
    TrackSelfHostedClientEvent,
)
from isthmus.core.errors import ClientGone, Interrupted, TooLarge
from isthmus.core.events import Crashed, RpcServed, SessionBilled
from isthmus.settings import GrpcSettings
from tests.contract.grpc.platform_stand import (
    OWN_KEY,
    SERVICE,
    Opened,
    ScriptedHost,
    Stand,
    metadata,
    standing,
)
from tests.support.tokens import claims_in, headers_for, payload, private_key, signed

START = ClientEvent(startRequest=StartWorkflowRequest(workflowID="7", goal="hi"))


async def silent(stream: Opened) -> AsyncGenerator[Action, None]:
    """Reads to the end and does nothing."""
    async for event in stream.events:
        stream.seen.append(event)
    return
    yield


async def echo(stream: Opened) -> AsyncGenerator[Action, None]:
    """Asks for one file a goal's letter, and takes the answers in any order."""
    start = await stream.event()
    asked = [
        Action(requestID=f"id-{number}", runReadFile={"filepath": letter})
        for number, letter in enumerate(start.startRequest.goal)
    ]
    for action in asked:
        yield action
    for _ in asked:
        await stream.event()
    yield Action(requestID="end", newCheckpoint=NewCheckpoint(status="FINISHED"))


async def failed(call: Awaitable[object]) -> aio.AioRpcError:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_a12_01_capabilities_have_three_names_without_a_package() -> None:
    async with standing(ScriptedHost(silent)) as stand:
        channel: Any = stand.channel
        list_capabilities = channel.unary_unary(
            "/DuoWorkflow/ListCapabilities",
            request_serializer=ListCapabilitiesRequest.SerializeToString,
        )
        raw = await list_capabilities(ListCapabilitiesRequest(), metadata=metadata())
        reply = await stand.stub.ListCapabilities(ListCapabilitiesRequest(), metadata=metadata())
    assert [(one.name, one.metadata) for one in reply.capabilities] == [
        ("tool_call_approval", ""),
        ("tool_call_pattern_approval", ""),
        ("flow_semantic_versioning", ""),
    ]
    assert raw == reply.SerializeToString()


@pytest.mark.parametrize("name", ["", "DuoWorkflow"])
async def test_a12_02_health_needs_no_credentials(name: str) -> None:
    async with standing(ScriptedHost(silent)) as stand:
        health = stand.health
        reply = await health.Check(health_pb2.HealthCheckRequest(service=name))
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


async def test_health_does_not_know_other_services() -> None:
    async with standing(ScriptedHost(silent)) as stand:
        health = stand.health
        error = await failed(health.Check(health_pb2.HealthCheckRequest(service="Other")))
    assert error.code() is StatusCode.NOT_FOUND


async def _reflected(stand: Stand, headers: tuple[tuple[str, str], ...]) -> list[str]:
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    call = stand.reflection.ServerReflectionInfo(iter([request]), metadata=headers)
    return [one.name async for reply in call for one in reply.list_services_response.service]


async def test_a12_03_reflection_is_closed_unless_it_is_switched_on() -> None:
    async with standing(ScriptedHost(silent)) as stand:
        # Nothing is sent: the client's library loses a refusal that a message crosses.
        asked = stand.reflection.ServerReflectionInfo
        assert await asked(metadata=()).code() is StatusCode.UNAUTHENTICATED
        assert await asked(metadata=metadata()).code() is StatusCode.UNIMPLEMENTED
    async with standing(ScriptedHost(silent), settings=GrpcSettings(port=0, reflection=True)) as on:
        names = await _reflected(on, ())
    assert set(names) == {
        "DuoWorkflow",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


@pytest.mark.parametrize("kind", ["unary", "stream"])
@pytest.mark.parametrize(
    ("changes", "text"),
    [
        pytest.param(
            {"authorization": None}, "No authorization header presented", id="test_a12_04_absent"
        ),
        pytest.param({"authorization": "Basic x"}, "Invalid authorization header", id="basic"),
        pytest.param(
            {"x-gitlab-authentication-type": None},
            "Invalid authentication token type - only OIDC is supported",
            id="test_a12_05_no_type",
        ),
        pytest.param(
            {"x-gitlab-realm": "saas"}, "Header mismatch 'X-Gitlab-Realm'", id="test_a12_07_realm"
        ),
    ],
)
async def test_a12_04_05_07_headers_are_checked(
    kind: str, changes: dict[str, str | None], text: str
) -> None:
    headers = metadata(changes)
    async with standing(ScriptedHost(silent)) as stand:
        if kind == "unary":
            error = await failed(
                stand.stub.ListCapabilities(ListCapabilitiesRequest(), metadata=headers)
            )
        else:
            call = stand.stub.ExecuteWorkflow(metadata=headers)
            error = await failed(call.read())
        for _ in range(1000):
            if stand.sink.of(RpcServed):
                break
            await asyncio.sleep(0.01)
    assert (error.code(), error.details()) == (StatusCode.UNAUTHENTICATED, text)
    assert [fact.code for fact in stand.sink.of(RpcServed)] == ["UNAUTHENTICATED"]
    assert stand.sink.of(RpcServed)[0].method.startswith("/DuoWorkflow/")


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(signed(payload(aud=SERVICE, exp=1)), id="expired"),
        pytest.param(signed(payload(aud="another")), id="audience"),
        pytest.param(signed(payload(aud=SERVICE), private_key("stranger")), id="unknown key"),
    ],
)
async def test_a12_06_a_bad_token_is_refused(token: str) -> None:
    async with standing(ScriptedHost(silent)) as stand:
        error = await failed(
            stand.stub.ListCapabilities(
                ListCapabilitiesRequest(), metadata=tuple(headers_for(token).items())
            )
        )
    assert (error.code(), error.details()) == (
        StatusCode.UNAUTHENTICATED,
        "Forbidden by auth provider",
    )
    assert token not in repr(stand.sink.facts)


def _self_issued(user: str = "user-1") -> tuple[tuple[str, str], ...]:
    claims = payload(iss=SERVICE, aud=SERVICE, sub="user-1", scopes=["duo_chat"])
    token = signed(claims, OWN_KEY, {"alg": "RS256", "kid": f"{SERVICE}_signing_key"})
    return tuple(headers_for(token, x_gitlab_global_user_id=user).items())


async def test_a12_08_a_user_token_belongs_to_its_user() -> None:
    async with standing(ScriptedHost(silent)) as stand:
        own = await stand.stub.ListCapabilities(ListCapabilitiesRequest(), metadata=_self_issued())
        error = await failed(
            stand.stub.ListCapabilities(ListCapabilitiesRequest(), metadata=_self_issued("other"))
        )
    assert len(own.capabilities) == 3
    assert error.code() is StatusCode.UNAUTHENTICATED


async def test_a12_09_the_old_key_still_verifies() -> None:
    token = signed(
        payload(aud=SERVICE),
        private_key("old"),
        {"alg": "RS256", "kid": f"{SERVICE}_validation_key"},
    )
    async with standing(ScriptedHost(silent)) as stand:
        reply = await stand.stub.ListCapabilities(
            ListCapabilitiesRequest(), metadata=tuple(headers_for(token).items())
        )
    assert len(reply.capabilities) == 3


async def test_a12_12_a_user_token_grants_no_token() -> None:
    async with standing(ScriptedHost(silent)) as stand:
        error = await failed(
            stand.stub.GenerateToken(
                GenerateTokenRequest(workflowDefinition="chat"), metadata=_self_issued()
            )
        )
    assert (error.code(), error.details()) == (
        StatusCode.PERMISSION_DENIED,
        "Unauthorized to generate token",
    )


async def test_a12_10_11_the_definition_decides_which_scope_is_needed() -> None:
    codes: dict[tuple[str, str], str] = {}
    async with standing(ScriptedHost(silent)) as stand:
        for scope in ("duo_chat", "duo_workflow_execute_workflow"):
            for definition in ("chat", "developer/v1"):
                call = stand.stub.GenerateToken(
                    GenerateTokenRequest(workflowDefinition=definition),
                    metadata=metadata(scopes=[scope]),
                )
                codes[scope, definition] = (await call.code()).name
    assert codes == {
        ("duo_chat", "chat"): "OK",
        ("duo_chat", "developer/v1"): "PERMISSION_DENIED",
        ("duo_workflow_execute_workflow", "chat"): "PERMISSION_DENIED",
        ("duo_workflow_execute_workflow", "developer/v1"): "OK",
    }


async def test_a12_13_a_token_lives_an_hour_and_says_what_the_server_can() -> None:
    async with standing(ScriptedHost(silent)) as stand:
        reply = await stand.stub.GenerateToken(
            GenerateTokenRequest(workflowDefinition="chat"),
            metadata=metadata(skip_usage_cutoff=True),
        )
    claims = claims_in(reply.token)
    assert claims["aud"] == claims["iss"] == SERVICE
    assert claims["exp"] == reply.expiresAt
    assert reply.expiresAt - int(str(claims["iat"])) == 3600
    assert claims["skip_usage_cutoff"] is True
    assert list(reply.server_capabilities) == [
        "tool_call_approval",
        "tool_call_pattern_approval",
        "flow_semantic_versioning",
    ]


async def test_a12_14_without_authentication_anybody_may_call() -> None:
    async with standing(ScriptedHost(silent), enabled=False) as stand:
        reply = await stand.stub.ListCapabilities(ListCapabilitiesRequest())
    assert len(reply.capabilities) == 3


async def test_a12_15_a_drain_says_not_serving_and_lets_streams_end() -> None:
    go_on = asyncio.Event()

    async def waits(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        yield Action(requestID="1", newCheckpoint=NewCheckpoint(status="RUNNING"))
        await go_on.wait()
        yield Action(requestID="2", newCheckpoint=NewCheckpoint(status="FINISHED"))

    async with standing(ScriptedHost(waits)) as stand:
        watch = stand.health.Watch(health_pb2.HealthCheckRequest())
        before = await watch.read()
        call = stand.stub.ExecuteWorkflow(metadata=metadata())
        await call.write(START)
        await call.read()
        stand.listener.set_serving(False)
        after = await watch.read()
        watch.cancel()
        async with asyncio.TaskGroup() as group:
            group.create_task(stand.listener.stop(5))
            go_on.set()
            last = await call.read()
            assert await call.read() is aio.EOF
    statuses = health_pb2.HealthCheckResponse
    assert (before.status, after.status) == (statuses.SERVING, statuses.NOT_SERVING)
    assert last.newCheckpoint.status == "FINISHED"
    assert await call.code() is StatusCode.OK


async def test_a12_16_closing_without_a_start_is_an_empty_success() -> None:
    host = ScriptedHost(silent)
    async with standing(host) as stand:
        call = stand.stub.ExecuteWorkflow(metadata=metadata())
        await call.done_writing()
        assert await call.read() is aio.EOF
        assert (await call.code(), await call.details()) == (StatusCode.OK, "")
    assert host.opened[0].seen == []


async def test_a12_17_a_first_message_that_starts_nothing_reaches_the_host() -> None:
    async def ends(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        return
        yield

    host = ScriptedHost(ends)
    async with standing(host) as stand:
        call = stand.stub.ExecuteWorkflow(metadata=metadata())
        await call.write(ClientEvent(heartbeat=HeartbeatRequest(timestamp=1)))
        assert await call.read() is aio.EOF
        assert await call.code() is StatusCode.OK
    assert host.opened[0].seen[0].HasField("heartbeat")


async def test_a12_32_a_turn_carries_actions_out_and_answers_in() -> None:
    host = ScriptedHost(echo)
    async with standing(host) as stand:
        call = stand.stub.ExecuteWorkflow(metadata=metadata())
        await call.write(ClientEvent(startRequest=StartWorkflowRequest(workflowID="7", goal="abc")))
        actions = [await call.read() for _ in range(3)]
        for action in reversed(actions):
            plain = PlainTextResponse(response=action.runReadFile.filepath)
            answer = ActionResponse(requestID=action.requestID, plainTextResponse=plain)
            await call.write(ClientEvent(actionResponse=answer))
        assert (await call.read()).newCheckpoint.status == "FINISHED"
        assert await call.read() is aio.EOF
    assert [fact.details for fact in stand.sink.of(RpcServed)] == ["workflow execution success"]
    answers = [event.actionResponse.requestID for event in host.opened[0].seen[1:]]
    assert answers == ["id-2", "id-1", "id-0"]
    assert host.opened[0].caller.scopes >= {"duo_chat"}
    assert host.opened[0].client.get("x-gitlab-realm") == "self-managed"
    assert "authorization" not in host.opened[0].client.headers


async def test_a12_38_a_hundred_heartbeats_arrive_in_order() -> None:
    host = ScriptedHost(silent)
    async with standing(host) as stand:
        call = stand.stub.ExecuteWorkflow(metadata=metadata())
        for number in range(100):
            await call.write(ClientEvent(heartbeat=HeartbeatRequest(timestamp=number)))
        await call.done_writing()
        assert await call.read() is aio.EOF
    assert [event.heartbeat.timestamp for event in host.opened[0].seen] == list(range(100))


async def test_a12_39_an_oversized_action_ends_the_stream_by_its_failure() -> None:
    async def too_large(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        raise TooLarge("Outgoing message too large.", 4 * 1024 * 1024)
        yield

    async with standing(ScriptedHost(too_large)) as stand:
        call = stand.stub.ExecuteWorkflow(metadata=metadata())
        await call.write(START)
        error = await failed(call.read())
    assert (error.code(), error.details()) == (
        StatusCode.RESOURCE_EXHAUSTED,
        "Outgoing message too large.",
    )


async def test_a_message_over_four_mebibytes_is_refused_before_it_is_read() -> None:
    async with standing(ScriptedHost(silent)) as stand:
        call = stand.stub.ExecuteWorkflow(metadata=metadata())

        async def send() -> None:
            goal = "x" * (4 * 1024 * 1024)
            await call.write(ClientEvent(startRequest=StartWorkflowRequest(goal=goal)))
            await call.read()

        error = await failed(send())
    assert error.code() is StatusCode.RESOURCE_EXHAUSTED


async def test_metadata_over_the_limit_is_refused() -> None:
    async with standing(ScriptedHost(silent)) as stand:
        large = (*metadata(), ("x-gitlab-host-name", "x" * 30_000))
        error = await failed(stand.stub.ListCapabilities(ListCapabilitiesRequest(), metadata=large))
        fine = (*metadata(), ("x-gitlab-host-name", "x" * 20_000))
        reply = await stand.stub.ListCapabilities(ListCapabilitiesRequest(), metadata=fine)
    assert error.code() is StatusCode.RESOURCE_EXHAUSTED
    assert len(reply.capabilities) == 3


async def test_a_stopped_session_is_told_from_a_finished_one() -> None:
    async def stopped(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        await stream.event()
        yield Action(requestID="1", newCheckpoint=NewCheckpoint(status="STOPPED"))

    async with standing(ScriptedHost(stopped)) as stand:
        call = stand.stub.ExecuteWorkflow(metadata=metadata())
        await call.write(START)
        await call.write(ClientEvent(stopWorkflow=StopWorkflowRequest(reason="ABORTED")))
        await call.read()
        assert await call.read() is aio.EOF
    assert [fact.details for fact in stand.sink.of(RpcServed)] == ["workflow execution stopped"]


async def test_a_client_that_vanishes_closes_the_session_at_once() -> None:
    ended: asyncio.Queue[str] = asyncio.Queue()

    async def waits(stream: Opened) -> AsyncGenerator[Action, None]:
        try:
            await stream.event()
            yield Action(requestID="1", newCheckpoint=NewCheckpoint(status="RUNNING"))
            await stream.event()
        except (asyncio.CancelledError, ClientGone, GeneratorExit) as error:
            ended.put_nowait(type(error).__name__)
            raise

    async with standing(ScriptedHost(waits)) as stand:
        call = stand.stub.ExecuteWorkflow(metadata=metadata())
        await call.write(START)
        await call.read()
        call.cancel()
        async with asyncio.timeout(5):
            assert await ended.get() in {"CancelledError", "ClientGone"}
            while not stand.sink.of(RpcServed):  # noqa: ASYNC110 - a sink cannot be awaited
                await asyncio.sleep(0.01)
    assert [fact.code for fact in stand.sink.of(RpcServed)] == ["CANCELLED"]
    assert stand.sink.of(Crashed) == []


async def test_a_reader_apart_sees_a_vanished_client_and_not_a_half_close() -> None:
    ended: asyncio.Queue[str] = asyncio.Queue()

    async def reads(stream: Opened) -> None:
        try:
            async for _ in stream.events:
                pass
            ended.put_nowait("half-closed")
        except (ClientGone, asyncio.CancelledError) as error:
            ended.put_nowait(type(error).__name__)
            raise

    async def waits(stream: Opened) -> AsyncGenerator[Action, None]:
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(reads(stream))
            yield Action(requestID="1", newCheckpoint=NewCheckpoint(status="RUNNING"))
            await asyncio.wait([reader])

    async with standing(ScriptedHost(waits)) as stand, asyncio.timeout(5):
        call = stand.stub.ExecuteWorkflow(metadata=metadata())
        await call.write(START)
        await call.read()
        call.cancel()
        assert await ended.get() in {"ClientGone", "CancelledError"}
        call = stand.stub.ExecuteWorkflow(metadata=metadata())
        await call.write(START)
        await call.read()
        await call.done_writing()
        assert await ended.get() == "half-closed"


FLOOD = 600


async def test_a_slow_client_holds_the_session_back() -> None:
    sent: list[int] = []

    async def floods(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        for number in range(FLOOD):
            sent.append(number)
            yield Action(requestID=str(number), newCheckpoint={"checkpoint": "x" * 100_000})

    async with standing(ScriptedHost(floods)) as stand:
        call = stand.stub.ExecuteWorkflow(metadata=metadata())
        await call.write(START)
        await call.read()
        await asyncio.sleep(0.3)
        behind = len(sent)
        received = 1
        while await call.read() is not aio.EOF:
            received += 1
    # Windows and socket buffers hold some 20 MB of these 60.
    assert behind < FLOOD * 3 // 4, "the server wrote what nobody read"
    assert received == FLOOD


async def test_an_interrupted_session_says_unavailable() -> None:
    async def drained(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        yield Action(requestID="1", newCheckpoint=NewCheckpoint(status="RUNNING"))
        raise Interrupted("workflow execution interrupted: RUNNING")

    async with standing(ScriptedHost(drained)) as stand:
        call = stand.stub.ExecuteWorkflow(metadata=metadata())
        await call.write(START)
        await call.read()
        error = await failed(call.read())
    assert (error.code(), error.details()) == (
        StatusCode.UNAVAILABLE,
        "workflow execution interrupted: RUNNING",
    )


async def test_a_bug_is_internal_names_its_type_alone_and_is_told() -> None:
    async def broken(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        raise ValueError("password=hunter2")
        yield

    async with standing(ScriptedHost(broken)) as stand:
        call = stand.stub.ExecuteWorkflow(metadata=metadata())
        await call.write(START)
        error = await failed(call.read())
    assert (error.code(), error.details()) == (
        StatusCode.INTERNAL,
        "Something went wrong: ValueError",
    )
    (crash,) = stand.sink.of(Crashed)
    assert (crash.where, crash.error) == ("/DuoWorkflow/ExecuteWorkflow", "ValueError")


async def test_an_rpc_is_told_once_with_its_correlation_id() -> None:
    async with standing(ScriptedHost(silent)) as stand:
        for extra in ((), (("x-gitlab-correlation-id", "corr-1"),), (("x-request-id", "a b"),)):
            await stand.stub.ListCapabilities(
                ListCapabilitiesRequest(), metadata=(*metadata(), *extra)
            )
    facts = stand.sink.of(RpcServed)
    assert [(fact.method, fact.kind, fact.code) for fact in facts] == [
        ("/DuoWorkflow/ListCapabilities", "UNARY", "OK")
    ] * 3
    assert facts[1].request_id == "corr-1"
    assert len(facts[0].request_id) == len(facts[2].request_id) == 36
    assert facts[0].user_agent.startswith("grpc-python")


async def test_a12_67_tools_are_listed_as_function_specifications() -> None:
    async with standing(ScriptedHost(silent)) as stand:
        reply = await stand.stub.ListTools(ListToolsRequest(), metadata=metadata())
    (tool,) = (MessageToDict(one) for one in reply.tools)
    assert tool["type"] == "function"
    function = tool["function"]
    assert (function["name"], function["description"]) == ("read_file", "Reads a file.")
    text = json.dumps(function["parameters"])
    assert '"path"' in text
    assert '"required": ["path"]' in text


async def test_announced_model_calls_are_acknowledged_and_counted() -> None:
    async with standing(ScriptedHost(silent)) as stand:
        call = stand.stub.TrackSelfHostedExecuteWorkflow(metadata=metadata())
        for number in range(3):
            event = TrackSelfHostedClientEvent(
                requestID=f"r{number}", workflowID="7", featureQualifiedName="developer"
            )
            await call.write(event)
            reply = await call.read()
            assert isinstance(reply, TrackSelfHostedAction)
            assert reply.requestID == f"r{number}"
        await call.done_writing()
        assert await call.code() is StatusCode.OK
        assert len(stand.sink.of(SessionBilled)) == 3
        denied = stand.stub.TrackSelfHostedExecuteWorkflow(metadata=metadata(scopes=["duo_chat"]))
        await denied.done_writing()
        error = await failed(denied.read())
    assert error.code() is StatusCode.PERMISSION_DENIED
    assert error.details() == "Unauthorized to track self-hosted workflow execution"


async def test_a_taken_port_is_an_os_error() -> None:
    async with standing(ScriptedHost(silent)) as stand:
        taken = GrpcSettings(port=stand.listener.port)
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{stand.listener.port}"):
            async with standing(ScriptedHost(silent), settings=taken):
                raise AssertionError("two listeners on one port")


async def test_the_line_of_a_session_names_it_and_says_how_it_went() -> None:
    async def shown(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        yield Action(requestID="1", newCheckpoint=NewCheckpoint(status="RUNNING"))
        await stream.event()
        yield Action(requestID="2", newCheckpoint=NewCheckpoint(status="STOPPED"))

    start = StartWorkflowRequest(
        workflowID="7", goal="hi", workflowDefinition="chat", flowConfigId="fix", flowVersion="1.0"
    )
    said: dict[str, str | None] = {
        "x-gitlab-client-type": "node-grpc",
        "x-gitlab-version": "19.1.0",
        "x-gitlab-language-server-version": "8.60.0",
        "x-gitlab-is-a-gitlab-member": "TRUE",
    }
    async with standing(ScriptedHost(shown)) as stand:
        call = stand.stub.ExecuteWorkflow(metadata=metadata(said))
        await call.write(ClientEvent(startRequest=start))
        await call.read()
        await call.write(ClientEvent(stopWorkflow=StopWorkflowRequest(reason="enough")))
        await call.read()
        assert await call.read() is aio.EOF
    [served] = stand.sink.of(RpcServed)
    told = dict(served.fields)
    assert served.unstarted == ""
    assert served.cpu_s > 0
    assert told.pop("gitlab_instance_id")
    assert told.pop("gitlab_realm")
    told.pop("gitlab_global_user_id", None)
    assert told == {
        "workflow_id": "7",
        "workflow_definition": "chat",
        "flow_name": "fix",
        "item_version": "1.0",
        "workflow_stop_reason": "enough",
        "workflow_last_gitlab_status": "STOPPED",
        "client_type": "node-grpc",
        "gitlab_version": "19.1.0",
        "lsp_version": "8.60.0",
        "is_gitlab_team_member": "true",
    }


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([], "NO_START_REQUEST"),
        ([ClientEvent(startRequest=StartWorkflowRequest(goal="hi"))], "EMPTY_START_REQUEST"),
    ],
)
async def test_a_stream_that_never_began_says_why(events: list[ClientEvent], reason: str) -> None:
    async with standing(ScriptedHost(silent)) as stand:
        call = stand.stub.ExecuteWorkflow(metadata=metadata())
        for event in events:
            await call.write(event)
        await call.done_writing()
        assert await call.read() is aio.EOF
    [served] = stand.sink.of(RpcServed)
    assert (served.unstarted, served.code) == (reason, "OK")


async def test_a_failure_is_named_on_its_line() -> None:
    async def broken(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        raise TooLarge("Too large.", 1)
        yield

    async with standing(ScriptedHost(broken)) as stand:
        call = stand.stub.ExecuteWorkflow(metadata=metadata())
        await call.write(START)
        await failed(call.read())
    [served] = stand.sink.of(RpcServed)
    assert dict(served.fields)["exception_class"] == "TooLarge"
