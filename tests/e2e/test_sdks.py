"""The vendors' own SDKs, unmodified, chat and stream through the proxies."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from anthropic import AsyncAnthropic, BadRequestError
from anthropic.types import ToolParam
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionToolParam

from tests.support.process import RunningServer, running_server
from tests.support.replay import KEY, Replay, replaying

SCOPE = "ai_gateway_model_provider_proxy"
TOOL: ToolParam = {
    "name": "get_weather",
    "description": "The weather at a place.",
    "input_schema": {"type": "object", "properties": {"location": {"type": "string"}}},
}
FUNCTION: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather at a place.",
        "parameters": {"type": "object", "properties": {"location": {"type": "string"}}},
    },
}


@pytest.fixture
async def anthropic_api() -> AsyncIterator[Replay]:
    async with replaying("anthropic") as replay:
        yield replay


@pytest.fixture
async def openai_api() -> AsyncIterator[Replay]:
    async with replaying("openai") as replay:
        yield replay


@pytest.fixture
async def server(
    tmp_path: Path, anthropic_api: Replay, openai_api: Replay
) -> AsyncIterator[RunningServer]:
    settings = {
        "ANTHROPIC_API_KEY": KEY,
        "ISTHMUS_PROVIDERS__ANTHROPIC__BASE_URL": anthropic_api.base_url,
        "OPENAI_API_KEY": KEY,
        "ISTHMUS_PROVIDERS__OPENAI__BASE_URL": openai_api.base_url,
        "ISTHMUS_TRANSPORTS": "http",
    }
    context = running_server(tmp_path, settings)
    started = await asyncio.to_thread(context.__enter__)
    try:
        yield started
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


async def headers(server: RunningServer) -> dict[str, str]:
    found = await asyncio.to_thread(server.headers, SCOPE)
    return found | {"x-gitlab-unit-primitive": SCOPE}


async def anthropic(server: RunningServer) -> AsyncAnthropic:
    mine = await headers(server)
    token = mine.pop("authorization").removeprefix("Bearer ")
    return AsyncAnthropic(
        base_url=f"{server.url}/ai/v1/proxy/anthropic",
        auth_token=token,
        api_key=None,
        default_headers=mine,
        max_retries=0,
    )


async def openai(server: RunningServer) -> AsyncOpenAI:
    mine = await headers(server)
    token = mine.pop("authorization").removeprefix("Bearer ")
    return AsyncOpenAI(
        base_url=f"{server.url}/v1/proxy/openai/v1",
        api_key=token,
        default_headers=mine,
        max_retries=0,
    )


async def test_anthropic_chats(server: RunningServer, anthropic_api: Replay) -> None:
    async with await anthropic(server) as client:
        message = await client.messages.create(
            model="claude-sonnet-4-6",
            max_tokens=64,
            messages=[{"role": "user", "content": "hi"}],
        )
    assert message.content[0].type == "text"
    assert message.content[0].text
    assert message.usage.output_tokens > 0
    asked = anthropic_api.requests[-1]
    assert asked.headers["x-api-key"] == KEY
    assert "authorization" not in asked.headers
    assert not [name for name in asked.headers if name.startswith("x-gitlab")]
    assert json.loads(asked.body)["messages"] == [{"role": "user", "content": "hi"}]


async def test_anthropic_streams_a_tool_use(server: RunningServer) -> None:
    async with (
        await anthropic(server) as client,
        client.messages.stream(
            model="claude-sonnet-4-6",
            max_tokens=64,
            tools=[TOOL],
            messages=[{"role": "user", "content": "Weather in Paris?"}],
        ) as stream,
    ):
        kinds = [event.type async for event in stream]
        final = await stream.get_final_message()
    assert "content_block_delta" in kinds
    used = [block for block in final.content if block.type == "tool_use"]
    assert used
    assert isinstance(used[0].input, dict)
    assert final.stop_reason == "tool_use"


async def test_anthropic_errors_arrive_as_the_vendors_own(
    server: RunningServer, anthropic_api: Replay
) -> None:
    anthropic_api.play("prompt_too_long")
    async with await anthropic(server) as client:
        with pytest.raises(BadRequestError) as refused:
            await client.messages.create(
                model="claude-sonnet-4-6",
                max_tokens=64,
                messages=[{"role": "user", "content": "hi"}],
            )
    assert refused.value.status_code == 400


async def test_openai_chats(server: RunningServer, openai_api: Replay) -> None:
    async with await openai(server) as client:
        answer = await client.chat.completions.create(
            model="gpt-5", messages=[{"role": "user", "content": "hi"}]
        )
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert openai_api.requests[-1].headers["authorization"] == f"Bearer {KEY}"


async def test_openai_streams_a_tool_call(server: RunningServer) -> None:
    async with await openai(server) as client:
        stream = await client.chat.completions.create(
            model="gpt-5",
            messages=[{"role": "user", "content": "Weather in Paris?"}],
            tools=[FUNCTION],
            stream=True,
        )
        chunks = [chunk async for chunk in stream]
    calls = [
        call
        for chunk in chunks
        for choice in chunk.choices
        for call in (choice.delta.tool_calls or [])
    ]
    assert any(call.function and call.function.name for call in calls)
    reasons = [choice.finish_reason for chunk in chunks for choice in chunk.choices]
    assert "tool_calls" in reasons


async def test_anthropic_streams_its_thinking(server: RunningServer, anthropic_api: Replay) -> None:
    anthropic_api.play("thinking")
    async with (
        await anthropic(server) as client,
        client.messages.stream(
            model="claude-sonnet-4-6",
            max_tokens=2048,
            thinking={"type": "enabled", "budget_tokens": 1024},
            messages=[{"role": "user", "content": "Hi"}],
        ) as stream,
    ):
        deltas = [event.delta.type async for event in stream if event.type == "content_block_delta"]
        final = await stream.get_final_message()
    assert {"thinking_delta", "text_delta"} <= set(deltas)
    assert {"thinking", "text"} <= {block.type for block in final.content}
    assert final.usage.cache_read_input_tokens == 2000


async def test_openai_streams_a_response_and_its_tools(
    server: RunningServer, openai_api: Replay
) -> None:
    openai_api.play("responses_text", "responses_tools")
    async with await openai(server) as client:
        async with client.responses.stream(model="gpt-5", input="Hi") as stream:
            texts: list[str] = []
            async for event in stream:
                if event.type == "response.output_text.delta":
                    texts.append(event.delta)
            final = await stream.get_final_response()
        assert "".join(texts)
        assert final.status == "completed"
        assert final.usage is not None
        events = await client.responses.create(model="gpt-5", input="Hi", stream=True)
        items = [event.item async for event in events if event.type == "response.output_item.done"]
    assert [item.name for item in items if item.type == "function_call"]
    assert openai_api.requests[-1].path == "/v1/responses"
