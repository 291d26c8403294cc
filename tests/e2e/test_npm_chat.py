"""Both published GitLab providers of the AI SDK, unmodified, chat through the real server."""

import pytest

from tests.support.npm import Clients, Fact, turns
from tests.support.npm_stand import NUMBERS, Stand

SIX = {"ai": "ai6", "provider": "gitlab-ai-provider"}
FIVE = {"ai": "ai5", "provider": "gitlab-ai-provider-3"}
MESSAGES, CHAT, RESPONSES = "/v1/messages", "/v1/chat/completions", "/v1/responses"
PROMPTS = ["Say [hello]", "What is the [weather]?", "Once [again], please"]


@pytest.mark.parametrize(
    ("sdk", "model", "path"),
    [
        (SIX, "duo-chat-sonnet-4-6", MESSAGES),
        (SIX, "duo-chat-gpt-5-1", CHAT),
        (SIX, "duo-chat-gpt-5-3-codex", RESPONSES),
        (FIVE, "duo-chat-sonnet-4-5", MESSAGES),
        (FIVE, "duo-chat-gpt-5-mini", CHAT),
        (FIVE, "duo-chat-gpt-5-codex", RESPONSES),
    ],
    ids=["6-messages", "6-chat", "6-responses", "5-messages", "5-chat", "5-responses"],
)
def test_i7_31_and_57_it_chats_and_uses_a_tool_on_each_wire_twice(
    clients: Clients, stand: Stand, sdk: dict[str, str], model: str, path: str
) -> None:
    for _ in range(2):
        before = len(stand.upstream.asked)
        first, second, third = turns(
            clients.drive("chat", stand.account, **sdk, model=model, prompts=PROMPTS)
        )
        _whole(first, "Hello from the vendor.")
        _whole(second, "Four degrees in Oslo.")
        assert [call["input"] for call in second["calls"]] == [{"city": "Oslo"}]
        assert [result["output"]["celsius"] for result in second["results"]] == [4]
        _whole(third, "Hello once more.")
        assert {one.path for one in stand.upstream.asked[before:]} == {path}
        assert len(stand.upstream.asked) == before + 4


def test_i7_32_a_401_of_the_gateway_is_healed_by_the_client(clients: Clients, stand: Stand) -> None:
    plan = SIX | {"model": "duo-chat-sonnet-4-6", "prompts": ["[hello]", "[again]"], "pause": True}
    with clients.driving("chat", stand.account, **plan) as run:
        _whole(run.turn(), "Hello from the vendor.")
        before = len(stand.upstream.asked)
        # What the client kept is worth nothing then, and that is told before a vendor is asked.
        (stand.server.folder / "var" / "signing_key.pem").unlink()
        stand.again()
        run.go_on()
        _whole(run.turn(), "Hello once more.")
        assert len(stand.upstream.asked) == before + 1


def test_a_chat_outlives_the_server(clients: Clients, stand: Stand) -> None:
    # The older provider tells its user of a 401 instead of healing it: our key stays as it is.
    plan = FIVE | {"model": "duo-chat-sonnet-4-6", "prompts": ["[hello]", "[again]"], "pause": True}
    with clients.driving("chat", stand.account, **plan) as run:
        _whole(run.turn(), "Hello from the vendor.")
        stand.again()
        run.go_on()
        _whole(run.turn(), "Hello once more.")


def test_an_abort_ends_the_call_of_the_vendor(clients: Clients, stand: Stand) -> None:
    before = stand.upstream.left
    stand.upstream.pause_s = 0.02
    try:
        plan = SIX | {"model": "duo-chat-sonnet-4-6", "prompts": ["[long]"], "abortAfter": "1 2 3"}
        (told,) = turns(clients.drive("chat", stand.account, **plan))
        assert stand.upstream.was_left(before + 1)
    finally:
        stand.upstream.pause_s = 0.0
    assert told["aborted"]
    assert told["text"] != NUMBERS
    assert NUMBERS.startswith(told["text"])


def _whole(turn: Fact, text: str) -> None:
    assert turn["errors"] == []
    assert turn["text"].endswith(text)
    assert turn["finish"] == "stop"
    assert turn["usage"]["inputTokens"] >= 11
