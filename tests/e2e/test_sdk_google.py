"""Google's own SDK, unmodified, through the proxy of Vertex AI; and Anthropic's for it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from anthropic.lib.vertex import AsyncAnthropicVertex
from google.genai import Client, errors, types
from google.genai.client import AsyncClient
from google.oauth2.credentials import Credentials

from tests.support import google
from tests.support.process import RunningServer, running_server
from tests.support.replay import KEY, Replay, replaying

SCOPE = "ai_gateway_model_provider_proxy"
MODEL = "gemini-2.5-flash"
TOOL = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="get_weather",
            description="The weather at a place.",
            parameters_json_schema={
                "type": "object",
                "properties": {"location": {"type": "string"}},
            },
        )
    ]
)


@pytest.fixture
async def api() -> AsyncIterator[Replay]:
    async with replaying("vertex") as replay:
        yield replay


@pytest.fixture
async def server(tmp_path: Path, api: Replay) -> AsyncIterator[RunningServer]:
    key = tmp_path / "key.json"
    key.write_text(google.service_account(api.token_url), encoding="utf-8")
    settings = {
        "GOOGLE_APPLICATION_CREDENTIALS": str(key),
        "AIGW_GOOGLE_CLOUD_PLATFORM__PROJECT": google.PROJECT,
        "AIGW_VERTEX_TEXT_MODEL__LOCATION": google.LOCATION,
        "AIGW_VERTEX_TEXT_MODEL__ENDPOINT": api.base_url,
        "ISTHMUS_TRANSPORTS": "http",
    }
    context = running_server(tmp_path, settings)
    started = await asyncio.to_thread(context.__enter__)
    try:
        yield started
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


@pytest.fixture
async def ours(server: RunningServer) -> dict[str, str]:
    found = await asyncio.to_thread(server.headers, SCOPE)
    return found | {"x-gitlab-unit-primitive": SCOPE}


@pytest.fixture
async def sdk(server: RunningServer, ours: dict[str, str]) -> AsyncIterator[AsyncClient]:
    headers = dict(ours)
    token = headers.pop("authorization").removeprefix("Bearer ")
    client = Client(
        vertexai=True,
        project="their-project",
        location="their-location",
        credentials=Credentials(token=token),
        http_options=types.HttpOptions(
            base_url=f"{server.url}/v1/proxy/vertex-ai", api_version="v1", headers=headers
        ),
    )
    async with client.aio as opened:
        yield opened


async def test_h11_65_it_generates_in_the_servers_project(sdk: AsyncClient, api: Replay) -> None:
    answer = await sdk.models.generate_content(model=MODEL, contents="Hi")
    assert answer.text == "Hello, hola, salut."
    assert answer.usage_metadata is not None
    [asked] = api.requests
    assert asked.path == f"{google.ROOT}/publishers/google/models/{MODEL}:generateContent"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert not [name for name in asked.headers if name.startswith(("x-gitlab", "x-goog"))]
    assert len(api.grants) == 1


async def test_it_streams(sdk: AsyncClient, api: Replay) -> None:
    stream = await sdk.models.generate_content_stream(model=MODEL, contents="Hi")
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.text or "" for chunk in chunks) == "Hello, grüß Gott 👋"
    assert chunks[-1].usage_metadata is not None
    assert chunks[-1].usage_metadata.cached_content_token_count == 1000
    assert api.requests[0].path.endswith(":streamGenerateContent?alt=sse")


async def test_it_calls_functions(sdk: AsyncClient, api: Replay) -> None:
    config = types.GenerateContentConfig(tools=[TOOL])
    first = await sdk.models.generate_content(model=MODEL, contents="Paris?", config=config)
    [call] = first.function_calls or []
    assert (call.name, call.args) == ("get_weather", {"location": "Paris"})
    assert first.candidates is not None
    assert first.candidates[0].content is not None
    answer = types.Part.from_function_response(name="get_weather", response={"output": "Rain."})
    contents = [
        types.Content(role="user", parts=[types.Part(text="Paris?")]),
        first.candidates[0].content,
        types.Content(role="user", parts=[answer]),
    ]
    stream = await sdk.models.generate_content_stream(model=MODEL, contents=contents, config=config)
    names = [call.name async for chunk in stream for call in chunk.function_calls or []]
    assert names == ["read_file", "list_things"]
    sent = json.loads(api.requests[-1].body)["contents"]
    assert sent[1]["parts"][0]["thoughtSignature"] == "c2lnbmVk"


async def test_errors_arrive_as_googles_own(sdk: AsyncClient, api: Replay) -> None:
    api.play("rate_limited")
    with pytest.raises(errors.ClientError) as refused:
        await sdk.models.generate_content(model=MODEL, contents="Hi")
    assert (refused.value.code, refused.value.status) == (429, "RESOURCE_EXHAUSTED")
    with pytest.raises(errors.ClientError) as unknown:
        await sdk.models.generate_content(model="gemini-of-nobody", contents="Hi")
    assert unknown.value.code == 400


async def test_anthropics_sdk_streams_a_model_of_vertex(
    server: RunningServer, ours: dict[str, str], api: Replay
) -> None:
    token = ours.pop("authorization").removeprefix("Bearer ")
    sdk = AsyncAnthropicVertex(
        region="their-location",
        project_id="their-project",
        access_token=token,
        base_url=f"{server.url}/v1/proxy/vertex-ai/v1",
        default_headers=ours,
        max_retries=0,
    )
    async with (
        sdk,
        sdk.messages.stream(
            model="claude-sonnet-4-5@20250929",
            max_tokens=64,
            messages=[{"role": "user", "content": "Hi"}],
        ) as stream,
    ):
        final = await stream.get_final_message()
    assert final.usage.cache_read_input_tokens == 1000
    assert api.requests[0].path.startswith(f"{google.ROOT}/publishers/anthropic/models/claude-")
