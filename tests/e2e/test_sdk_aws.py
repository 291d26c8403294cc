"""The vendor's own SDK, unmodified, against the Bedrock that our provider is tested with.

The replay counts each signature anew with our own code, so each side vouches for the other.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, cast

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from tests.support.replay import KEY, Replay, replaying
from tests.support.vendors import ACCESS_KEY

MODEL = "global.anthropic.claude-sonnet-4-6-v1:0"
HI = [{"role": "user", "content": [{"text": "Hi"}]}]
Got = TypeVar("Got")
Told = Mapping[str, Any]


class Client(Protocol):
    """What is used of the SDK's client, which it makes at run time."""

    def converse(self, **given: object) -> Told: ...
    def converse_stream(self, **given: object) -> Told: ...
    def close(self) -> None: ...


def client(replay: Replay, secret: str = KEY, token: str | None = None) -> Client:
    made: object = boto3.client(  # pyright: ignore[reportUnknownVariableType] - no stubs
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=replay.base_url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )
    return cast("Client", made)


async def asked(replay: Replay, ask: Callable[[Client], Got], **credentials: str) -> Got:
    """What the SDK, which blocks, makes of it in a thread."""

    def run() -> Got:
        sdk = client(replay, **credentials)
        try:
            return ask(sdk)
        finally:
            sdk.close()

    return await asyncio.to_thread(run)


def streamed(sdk: Client) -> list[Told]:
    answer = sdk.converse_stream(
        modelId=MODEL,
        messages=HI,
        inferenceConfig={"maxTokens": 64},
        additionalModelRequestFields={"top_k": 5},
    )
    stream = answer["stream"]
    try:
        return list(stream)
    finally:
        stream.close()


async def test_converse() -> None:
    async with replaying("bedrock") as replay:
        answer = await asked(replay, lambda sdk: sdk.converse(modelId=MODEL, messages=HI))
        assert answer["output"]["message"]["content"] == [{"text": "Hello, hola, salut."}]
        assert answer["usage"]["inputTokens"] == 20
        assert replay.requests[0].headers["authorization"].startswith("AWS4-HMAC-SHA256 ")


@pytest.mark.parametrize("credentials", [{}, {"token": "of-a-session"}])
async def test_converse_stream(credentials: dict[str, str]) -> None:
    async with replaying("bedrock") as replay:
        events = await asked(replay, streamed, **credentials)
        assert replay.requests[0].path == f"/model/{MODEL.replace(':', '%3A')}/converse-stream"
    assert list(events[0]) == ["messageStart"]
    deltas = [
        event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event
    ]
    assert "".join(delta.get("text", "") for delta in deltas) == "Hello, grüß Gott 👋"
    assert deltas[0] == {"reasoningContent": {"text": "Three of them."}}
    assert events[-1]["metadata"]["usage"]["cacheReadInputTokens"] == 1000
    assert events[-2] == {"messageStop": {"stopReason": "end_turn"}}


async def test_tools_and_guardrails() -> None:
    async with replaying("bedrock") as replay:
        replay.play("tool_use", "guardrail")
        events = await asked(replay, streamed)
        starts = [event["contentBlockStart"] for event in events if "contentBlockStart" in event]
        assert [start["start"]["toolUse"]["name"] for start in starts] == [
            "read_file",
            "list_things",
        ]
        events = await asked(replay, streamed)
        assert {"messageStop": {"stopReason": "guardrail_intervened"}} in events


async def test_errors() -> None:
    async with replaying("bedrock") as replay:
        replay.play("error_in_stream", "rate_limited", "too_long")
        with pytest.raises(EventStreamError, match="throttlingException"):
            await asked(replay, streamed)
        for code in ("ThrottlingException", "ValidationException"):
            with pytest.raises(ClientError) as raised:
                await asked(replay, streamed)
            assert cast("Told", raised.value.response)["Error"]["Code"] == code
        with pytest.raises(ClientError) as raised:
            await asked(replay, streamed, secret="wrong")
        assert cast("Told", raised.value.response)["Error"]["Code"] == "UnrecognizedClientException"
