"""Scripts of what a client sends, and what the conversation makes of it."""

import pytest

from isthmus.contract.contract_pb2 import (
    Action,
    ActionResponse,
    ClientEvent,
    HeartbeatRequest,
    HttpResponse,
    NewCheckpoint,
    PlainTextResponse,
    ReadFile,
    RunHTTPRequest,
    StartWorkflowRequest,
    StopWorkflowRequest,
)
from isthmus.platform.protocol import (
    CAPACITY,
    Begin,
    Conversation,
    Dismiss,
    Full,
    Halt,
    Ignore,
    Queued,
    Reason,
    Resolve,
)

START = ClientEvent(startRequest=StartWorkflowRequest(workflowID="7", goal="go"))
LIMIT = 1000


def read(path: str = "a") -> Action:
    return Action(runReadFile=ReadFile(filepath=path))


def http() -> Action:
    return Action(runHTTPRequest=RunHTTPRequest(method="GET", path="/x"))


def text(request_id: str = "") -> ClientEvent:
    plain = PlainTextResponse(response="ok")
    return ClientEvent(actionResponse=ActionResponse(requestID=request_id, plainTextResponse=plain))


def page(request_id: str = "") -> ClientEvent:
    reply = HttpResponse(statusCode=200)
    return ClientEvent(actionResponse=ActionResponse(requestID=request_id, httpResponse=reply))


def stop(reason: str) -> ClientEvent:
    return ClientEvent(stopWorkflow=StopWorkflowRequest(reason=reason))


def nothing() -> NewCheckpoint | None:
    return None


def begun() -> Conversation:
    conversation = Conversation(LIMIT)
    assert isinstance(conversation.receive(START), Begin)
    return conversation


def test_a_start_begins_and_a_second_one_is_ignored() -> None:
    conversation = Conversation(LIMIT)
    begin = conversation.receive(START)
    assert isinstance(begin, Begin)
    assert begin.start.goal == "go"
    assert isinstance(conversation.receive(START), Ignore)


@pytest.mark.parametrize(
    "first",
    [
        ClientEvent(),
        ClientEvent(heartbeat=HeartbeatRequest()),
        ClientEvent(startRequest=StartWorkflowRequest(goal="go")),
        text("x"),
        stop("x"),
    ],
)
def test_a12_17_anything_but_a_start_dismisses(first: ClientEvent) -> None:
    assert isinstance(Conversation(LIMIT).receive(first), Dismiss)


def test_a12_16_a_stream_that_closes_before_its_start_is_dismissed() -> None:
    assert isinstance(Conversation(LIMIT).half_close(), Dismiss)


def test_a12_32_answers_are_matched_by_id_and_once() -> None:
    conversation = begun()
    assert isinstance(conversation.ask(read(), "1"), Queued)
    assert isinstance(conversation.ask(read(), "2"), Queued)
    resolved = conversation.receive(text("2"))
    assert isinstance(resolved, Resolve)
    assert resolved.request_id == "2"
    assert isinstance(conversation.receive(text("2")), Ignore)
    assert isinstance(conversation.receive(text("3")), Ignore)


def test_a12_33_an_answer_without_id_is_for_the_oldest_of_its_kind() -> None:
    conversation = begun()
    for request_id, action in (("1", http()), ("2", read()), ("3", http()), ("4", read())):
        conversation.ask(action, request_id)
    answered = [conversation.receive(event) for event in (text(), page(), text(), page(), text())]
    ids = [effect.request_id for effect in answered if isinstance(effect, Resolve)]
    assert ids == ["2", "1", "4", "3"]
    assert isinstance(answered[-1], Ignore)


def test_a12_34_a_checkpoint_waits_for_no_answer() -> None:
    conversation = begun()
    conversation.notice()
    sent = conversation.next(lambda: NewCheckpoint(status="RUNNING"), "n1")
    assert isinstance(sent, Action)
    assert sent.requestID == "n1"
    assert isinstance(conversation.receive(text("n1")), Ignore)
    assert isinstance(conversation.receive(text("")), Ignore)


def test_checkpoints_that_wait_become_one_that_shows_the_newest_state() -> None:
    conversation = begun()
    conversation.notice()
    conversation.ask(read(), "1")
    for _ in range(10):
        conversation.notice()
    composed: list[int] = []

    def compose() -> NewCheckpoint:
        composed.append(1)
        return NewCheckpoint(status="RUNNING")

    kinds = [conversation.next(compose, "n") for _ in range(3)]
    assert isinstance(kinds[0], Action)
    assert kinds[0].HasField("newCheckpoint")
    assert isinstance(kinds[1], Action)
    assert kinds[1].HasField("runReadFile")
    assert kinds[2] is None
    assert len(composed) == 1


def test_a_checkpoint_that_shows_nothing_new_is_not_sent() -> None:
    conversation = begun()
    conversation.notice()
    assert conversation.next(nothing, "n") is None
    conversation.notice()
    assert isinstance(conversation.next(NewCheckpoint, "n"), Action)


def test_a12_39_what_is_too_large_halts() -> None:
    conversation = begun()
    assert conversation.ask(read("x" * LIMIT), "1") == Halt(Reason.TOO_LARGE)
    assert conversation.next(nothing, "n") is None
    conversation.notice()
    large = conversation.next(lambda: NewCheckpoint(checkpoint="x" * LIMIT), "n")
    assert large == Halt(Reason.TOO_LARGE)


def test_a_conversation_takes_only_so_many_actions() -> None:
    conversation = begun()
    for number in range(CAPACITY):
        assert isinstance(conversation.ask(read(), str(number)), Queued)
    assert isinstance(conversation.ask(read(), "more"), Full)
    conversation.receive(text("0"))
    assert isinstance(conversation.ask(read(), "more"), Queued)


def test_an_action_that_nobody_waits_for_is_not_sent() -> None:
    conversation = begun()
    conversation.ask(read(), "1")
    conversation.notice()
    conversation.forget("1")
    sent = conversation.next(NewCheckpoint, "n")
    assert isinstance(sent, Action)
    assert sent.HasField("newCheckpoint")
    assert isinstance(conversation.receive(text("1")), Ignore)


@pytest.mark.parametrize(
    ("text_", "reason"),
    [
        ("WORKHORSE_SERVER_SHUTDOWN", Reason.SHUTDOWN),
        ("WORKHORSE_WEBSOCKET_PING_FAILED", Reason.PING_FAILED),
        ("WORKHORSE_WEBSOCKET_CLOSE_1000", Reason.USER),
        ("ABORTED", Reason.USER),
        ("", Reason.USER),
    ],
)
def test_the_reason_of_a_stop_is_told_by_its_text(text_: str, reason: Reason) -> None:
    halted = begun().receive(stop(text_))
    assert isinstance(halted, Halt)
    assert halted.reason is reason


def test_after_a_stop_answers_are_still_taken() -> None:
    conversation = begun()
    conversation.ask(http(), "1")
    assert isinstance(conversation.receive(stop("x")), Halt)
    assert isinstance(conversation.receive(page("1")), Resolve)
    assert isinstance(conversation.receive(stop("y")), Ignore)
    assert isinstance(conversation.half_close(), Ignore)


def test_a_half_closed_stream_halts() -> None:
    halted = begun().half_close()
    assert isinstance(halted, Halt)
    assert halted.reason is Reason.GONE


@pytest.mark.parametrize("event", [ClientEvent(heartbeat=HeartbeatRequest()), ClientEvent()])
def test_a12_38_heartbeats_and_empty_events_are_ignored(event: ClientEvent) -> None:
    conversation = begun()
    for _ in range(100):
        assert isinstance(conversation.receive(event), Ignore)
