"""The replay satisfies the vendors' SDKs, for Azure and for the responses API."""

import openai as sdk
import pytest

from tests.support.replay import KEY, Replay, replaying


def azure(replay: Replay, key: str = KEY) -> sdk.AsyncAzureOpenAI:
    return sdk.AsyncAzureOpenAI(
        api_key=key,
        api_version="2024-10-21",
        azure_endpoint=replay.base_url,
        max_retries=0,
    )


async def test_azure() -> None:
    async with replaying("azure") as replay, azure(replay) as client:
        whole = await client.chat.completions.create(
            model="my-deployment", messages=[{"role": "user", "content": "Hi"}]
        )
        assert whole.choices[0].message.content == "Hello, hola, salut."
        stream = await client.chat.completions.create(
            model="my-deployment", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(part.choices[0].delta.content or "" for part in chunks if part.choices)
        assert text == "Hello, grüß Gott 👋"
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.prompt_tokens == 20
        replay.play("filtered")
        with pytest.raises(sdk.BadRequestError) as refused:
            await client.chat.completions.create(
                model="my-deployment", messages=[{"role": "user", "content": "Hi"}]
            )
        assert refused.value.code == "content_filter"
        assert {asked.path for asked in replay.requests} == {
            "/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21"
        }
        async with azure(replay, "wrong") as stranger:
            with pytest.raises(sdk.AuthenticationError):
                await stranger.chat.completions.create(
                    model="my-deployment", messages=[{"role": "user", "content": "Hi"}]
                )


async def test_responses() -> None:
    async with (
        replaying("openai") as replay,
        sdk.AsyncOpenAI(api_key=KEY, base_url=replay.base_url, max_retries=0) as client,
    ):
        replay.play("responses_text", "responses_tools", "responses_cut")
        async with client.responses.stream(model="gpt-5.2", input="Hi") as stream:
            kinds = {event.type async for event in stream}
            final = await stream.get_final_response()
        assert {"response.created", "response.output_text.delta", "response.completed"} <= kinds
        assert final.usage is not None
        assert final.usage.input_tokens_details.cached_tokens == 10
        assert final.usage.output_tokens_details.reasoning_tokens == 32
        events = await client.responses.create(model="gpt-5.2", input="Hi", stream=True)
        items = [event.item async for event in events if event.type == "response.output_item.done"]
        called = [item for item in items if item.type == "function_call"]
        assert [(item.name, item.call_id) for item in called] == [
            ("read_file", "call_A"),
            ("list_things", "call_B"),
        ]
        events = await client.responses.create(model="gpt-5.2", input="Hi", stream=True)
        last = [event async for event in events][-1]
        assert last.type == "response.incomplete"
        assert last.response.incomplete_details is not None
        assert last.response.incomplete_details.reason == "max_output_tokens"
