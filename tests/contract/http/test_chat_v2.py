"""The chat agent through the whole application, on the contract's own numbers."""

import json
from collections.abc import Sequence
from typing import cast

import httpx
import pytest

from isthmus.core.errors import UpstreamFailed, UpstreamLimited, UpstreamTimeout
from isthmus.core.events import FeatureUsed, Noted
from isthmus.core.messages import Chat
from tests.support.chat_stand import Instance, claude
from tests.support.suggest_stand import Scripted

AGENT = "/v2/chat/agent"
CLASSIC = ("duo_classic_chat", "ask_issue", "ask_build")
ANSWER = ("Thought: known.\nFinal An", "swer: It is ", "bug.")
CORE = "Duo Core no longer authorized to access Duo Classic Chat"
RECENT = {"x-gitlab-version": "17.5.0-pre"}
USAGE = {
    "type": "usage",
    "data": {"usage": {"claude-sonnet-4-5-20250929": {"input_tokens": 21, "output_tokens": 6}}},
}


def user(
    content: str | None = "Which label does issue 12 have?", **more: object
) -> dict[str, object]:
    return {"role": "user", "content": content} | more


def body(*messages: dict[str, object], **more: object) -> dict[str, object]:
    return {"messages": list(messages) or [user()]} | more


def says(*chunks: str | Exception) -> Scripted:
    return claude(*(chunks or ANSWER))


async def ask(
    asked: object, *chunks: str | Exception, scopes: Sequence[str] | None = CLASSIC
) -> httpx.Response:
    return await instance(*chunks, scopes=scopes).post(AGENT, asked)


def instance(*chunks: str | Exception, scopes: Sequence[str] | None = CLASSIC) -> Instance:
    return Instance((says(*chunks),), scopes=None if scopes is None else tuple(scopes))


def lines(reply: httpx.Response) -> list[dict[str, object]]:
    assert reply.status_code == 200
    return [json.loads(line) for line in reply.text.splitlines()]


def delta(text: str, finish_reason: str | None = None) -> dict[str, object]:
    return {
        "type": "final_answer_delta",
        "data": {"text": text, "finish_reason": finish_reason},
    }


async def test_h11_05_only_posts_are_taken() -> None:
    transport = httpx.ASGITransport(Instance().app())
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        reply = await client.get(AGENT)
    assert (reply.status_code, reply.json()) == (405, {"detail": "Method Not Allowed"})
    assert reply.headers["allow"] == "POST"


async def test_h11_54_an_answer_is_lines_of_a_type_and_its_data() -> None:
    reply = await ask(body())
    assert reply.headers["content-type"] == "application/x-ndjson; charset=utf-8"
    assert reply.text.endswith("\n")
    told = lines(reply)
    assert all(set(line) == {"type", "data"} for line in told)
    assert told[:-1] == [delta("It is "), delta("bug."), delta("", "stop")]


async def test_h11_55_a_good_answer_ends_with_the_tokens() -> None:
    assert [line["type"] for line in lines(await ask(body()))][-1] == "usage"
    (used,) = lines(await ask(body()))[-1:]
    counts = cast("dict[str, dict[str, object]]", used["data"])["usage"]
    assert list(counts.values()) == [{"input_tokens": 21, "output_tokens": 6}]


@pytest.mark.parametrize(
    ("chunks", "retryable"),
    [
        ([UpstreamFailed("The model provider answered with an error (500).")], False),
        ([UpstreamLimited("The model provider is overloaded.", status=529)], True),
        ([UpstreamLimited("Too fast.", status=429)], False),
        ([UpstreamTimeout("Late.", "total")], False),
        ([*ANSWER, UpstreamFailed("Broken.")], False),
    ],
)
async def test_h11_55_a_failure_is_told_in_a_line_and_breaks_the_answer_off(
    chunks: list[str | Exception], retryable: bool
) -> None:
    asked = instance(*chunks)
    status, text = await asked.post_until_broken(AGENT, body())
    told = lines(httpx.Response(status, text=text))
    failure = chunks[-1]
    assert isinstance(failure, Exception)
    assert told[-1] == {"type": "error", "data": {"message": str(failure), "retryable": retryable}}
    assert "usage" not in [line["type"] for line in told]
    assert [note.event for note in asked.stand.sink.of(Noted)] == ["An answer broke off."]


async def test_h11_56_steps_of_a_user_are_refused() -> None:
    step = {"action": {"type": "action", "tool": "a", "tool_input": "b", "thought": "c"}}
    reply = await ask(body(user(agent_scratchpad=[step])))
    detail = "agent_scratchpad can only be present when role is ASSISTANT"
    assert (reply.status_code, reply.json()) == (400, {"detail": detail})
    assert (await ask(body(user(agent_scratchpad=[])))).status_code == 200


@pytest.mark.parametrize(
    ("scopes", "messages", "refusal"),
    [
        (["duo_classic_chat"], [user()], None),
        (["duo_chat"], [user()], CORE),
        (["duo_chat"], [user("@GitLabDuo, well?")], None),
        (["duo_chat"], [user("@GitLabDuo"), user("and?")], CORE),
        (
            ["duo_chat"],
            [user("a @GitLabDuo"), {"role": "assistant", "content": "b"}, user(None)],
            None,
        ),
        (["complete_code"], [user("@GitLabDuo")], "Unauthorized to access duo chat"),
        ([], [user()], "Unauthorized to access duo chat"),
    ],
)
async def test_h11_57_who_may_chat(
    scopes: list[str], messages: list[dict[str, object]], refusal: str | None
) -> None:
    reply = await ask(body(*messages), scopes=scopes)
    if refusal is None:
        assert reply.status_code == 200
    else:
        assert (reply.status_code, reply.json()) == (403, {"detail": refusal})


async def test_h11_58_each_kind_of_context_needs_its_scope() -> None:
    file = {"category": "file", "id": "a.py", "content": "x = 1", "metadata": {"size": 3}}
    asked = body(user(additional_context=[file]))
    reply = await ask(asked)
    detail = "Unauthorized to access include_file_context"
    assert (reply.status_code, reply.json()) == (403, {"detail": detail})
    admitted = await ask(asked, scopes=[*CLASSIC, "include_file_context"])
    assert admitted.status_code == 200


EVERY = [
    *("build_reader", "commit_reader", "merge_request_reader", "issue_reader", "epic_reader"),
    *("work_item_reader", "gitlab_documentation"),
]
ALL_SCOPES = (
    *("duo_classic_chat", "ask_build", "ask_commit", "ask_merge_request", "ask_issue", "ask_epic"),
    *("ask_work_item", "documentation_search"),
)


@pytest.mark.parametrize(
    ("scopes", "headers", "offered"),
    [
        (ALL_SCOPES, {}, EVERY[3:]),
        (ALL_SCOPES, {"x-gitlab-version": "17.4.9"}, EVERY[3:]),
        (ALL_SCOPES, {"x-gitlab-version": "new"}, EVERY[3:]),
        (ALL_SCOPES, RECENT, EVERY),
        (ALL_SCOPES, {"x-gitlab-version": "18.0.1-ee"}, EVERY),
        (CLASSIC, RECENT, ["build_reader", "issue_reader"]),
        (None, {}, EVERY),
    ],
)
async def test_h11_59_tools_are_offered_by_scope_and_version(
    scopes: tuple[str, ...] | None, headers: dict[str, str], offered: list[str]
) -> None:
    model = says()
    asked = Instance((model,), scopes=scopes, headers=headers)
    assert (await asked.post(AGENT, body())).status_code == 200
    sent = model.sent()
    assert [name for name in EVERY if name in sent] == offered
    assert list(cast("Sequence[str]", asked.logged()["duo_chat.agent_available_tools"])) == offered


async def test_a_tool_is_asked_for() -> None:
    asked = instance("Thought: look\nAction: issue_reader\nAction ", "Input: issue 12\n")
    told = lines(await asked.post(AGENT, body()))
    action = {"tool": "issue_reader", "tool_input": "issue 12", "thought": "look"}
    assert told[0] == {"type": "action", "data": action}
    assert [line["type"] for line in told] == ["action", "usage"]
    assert asked.logged()["duo_chat.agent_tool_action"] == "issue_reader"
    assert asked.stand.sink.of(FeatureUsed)[0].unit_primitive == "duo_classic_chat"


@pytest.mark.parametrize("tool", ["epic_reader", "no_such_tool"])
async def test_a_tool_that_was_not_offered_is_an_error(tool: str) -> None:
    told = lines(await ask(body(), f"Action: {tool}\nAction Input: x"))
    error = {"message": "tool not available", "retryable": False}
    assert told[0] == {"type": "error", "data": error}
    assert [line["type"] for line in told] == ["error", "usage"]


async def test_what_cannot_be_understood_is_passed_on() -> None:
    told = lines(await ask(body(), "mock"))
    assert told[0] == {"type": "unknown", "data": {"text": "mock"}}


STEP = {
    "thought": "see\\_it",
    "tool": "issue\\_reader",
    "tool_input": "12",
    "observation": "labelled bug",
}


@pytest.mark.parametrize(
    "more",
    [
        {
            "messages": [user()],
            "options": {"agent_scratchpad": {"agent_type": "react", "steps": [STEP]}},
        },
        {
            "messages": [
                user(),
                {
                    "role": "assistant",
                    "content": None,
                    "agent_scratchpad": [
                        {"observation": "skipped"},
                        {
                            "action": {k: v for k, v in STEP.items() if k != "observation"},
                            "observation": "labelled bug",
                        },
                    ],
                },
            ]
        },
    ],
)
async def test_earlier_steps_reach_the_model(more: dict[str, object]) -> None:
    model = says()
    await Instance((model,), scopes=CLASSIC).post(AGENT, more)
    sent = model.sent()
    for text in ("see_it", "Action: issue_reader", "labelled bug"):
        assert text in sent
    assert "skipped" not in sent


async def test_the_conversation_and_what_the_user_looks_at_reach_the_model() -> None:
    model = says()
    messages: list[dict[str, object]] = [
        user("Hello", current_file={"file_path": "a.py", "data": "x = 1", "selected_code": True}),
        {"role": "assistant", "content": "Hi."},
        user("Well?", context={"type": "issue", "title": "Crash on save"}),
    ]
    asked = body(*messages, unavailable_resources=["wikis"])
    assert (await Instance((model,)).post(AGENT, asked)).status_code == 200
    (call,) = model.calls
    assert isinstance(call.prompt, Chat)
    roles = [one.role for one in call.prompt.messages if one.role != "system"]
    assert roles == ["user", "assistant", "user"]
    for text in ("Hello", "Hi.", "Well?", "Crash on save", "x = 1", "wikis"):
        assert text in model.sent()


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"messages": []},
        body(user(None)),
        body({"role": "tool", "content": "x"}),
        body(user(context={"type": "issue"})),
        body(user(context={"type": "work_item", "content": "x"})),
        body(user(context={"type": "song", "title": "x"})),
        body(user(current_file={"file_path": "a", "data": "b"})),
        body(user(additional_context=[{"category": "song"}])),
        body(options={}),
        body(options={"agent_scratchpad": {"agent_type": "other", "steps": []}}),
    ],
)
async def test_a_body_that_does_not_fit(asked: object) -> None:
    reply = await ask(asked)
    assert (reply.status_code, reply.json()) == (422, {"detail": "Validation error"})


@pytest.mark.parametrize(
    "context",
    [
        {"type": "build"},
        {"type": "issue", "content": "x"},
        {"type": "work_item", "title": "x"},
        None,
    ],
)
async def test_forms_of_context(context: object) -> None:
    assert (await ask(body(user(context=context)))).status_code == 200
