"""Vertex AI beyond its wires: where models are called, batches, credentials, the vendors' SDKs."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec
import pytest
from anthropic.lib.vertex import AsyncAnthropicVertex
from google.genai import Client, errors, types
from google.oauth2.credentials import Credentials
from msgspec.structs import replace

from isthmus.adapters.outbound.client import HttpClient, open_client
from isthmus.adapters.providers import vertex
from isthmus.adapters.providers.dialects.vertex import VertexDialect, home_of
from isthmus.core.deadline import Deadline
from isthmus.core.errors import (
    MisconfiguredProvider,
    Rejected,
    UpstreamFailed,
    UpstreamUnreachable,
)
from isthmus.core.messages import (
    Chat,
    EmbedCall,
    Message,
    ModelCall,
    OutboundRequest,
    RawCall,
    Target,
    Text,
    Tuning,
    Usage,
    collect,
)
from isthmus.core.ports import Outbound, OutboundReply
from isthmus.settings import OutboundSettings, ProvidersSettings, SettingsError
from tests.contract.outbound.rawserver import Peer, RealClock, serving, within
from tests.support import google
from tests.support.replay import KEY, Replay, replaying

CALL = ModelCall("gemini-2.5-flash", Chat((Message("user", (Text("Hi"),)),)), 64)
FORWARDED = f"{google.THEIRS}/publishers/google/models/gemini-2.5-flash:generateContent"


@pytest.fixture
async def outbound() -> AsyncIterator[HttpClient]:
    async with open_client(OutboundSettings(), RealClock()) as client:
        yield client


class Recorder:
    """An Outbound that reaches nobody, and remembers whom it should have reached."""

    def __init__(self) -> None:
        self.urls: list[str] = []

    def open(
        self, request: OutboundRequest, deadline: Deadline
    ) -> AbstractAsyncContextManager[OutboundReply]:
        assert deadline.at_s > 0
        self.urls.append(request.url)
        raise UpstreamUnreachable("There is no network here.")


def built(outbound: Outbound, **own: object) -> vertex.VertexProvider:
    settings = ProvidersSettings.model_validate({"vertex": own})
    return vertex.build(settings, outbound, RealClock(), OutboundSettings(retries=0))


def on(replay: Replay, outbound: HttpClient, **own: object) -> vertex.VertexProvider:
    usual = {
        "project": google.PROJECT,
        "location": google.LOCATION,
        "endpoint": replay.base_url,
        "credentials": google.service_account(replay.token_url),
    }
    return built(outbound, **(usual | own))


@pytest.mark.parametrize(
    ("own", "model", "url"),
    [
        (
            {},
            "gemini-2.5-flash",
            "https://aiplatform.googleapis.com/v1/projects/p/locations/global",
        ),
        ({}, "claude-opus-5", "https://aiplatform.googleapis.com/v1/projects/p/locations/global"),
        (
            {},
            "text-embedding-005",
            "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1",
        ),
        (
            {"location": "europe-west4"},
            "text-embedding-005",
            "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4",
        ),
        (
            {"endpoint": "vertex.example.test"},
            "text-embedding-005",
            "https://vertex.example.test/v1/projects/p/locations/global",
        ),
        (
            {"endpoint": "http://127.0.0.1:9/"},
            "gemini-2.5-flash",
            "http://127.0.0.1:9/v1/projects/p/locations/global",
        ),
    ],
)
async def test_a_model_is_called_where_it_stands(
    own: Mapping[str, object], model: str, url: str
) -> None:
    recorder = Recorder()
    door = built(recorder, project="p", **own)
    call = EmbedCall(model, ("a",), target=Target("", "key"))
    with pytest.raises(UpstreamUnreachable):
        await door.embed(call, within())
    publisher = home_of(model).publisher
    assert recorder.urls == [f"{url}/publishers/{publisher}/models/{model}:predict"]


@pytest.mark.parametrize(
    ("model", "publisher"),
    [
        ("claude-sonnet-4-5@20250929", "anthropic"),
        ("codestral-2", "mistralai"),
        ("mistral-medium-3", "mistralai"),
        ("gemini-3.5-flash", "google"),
        ("text-embedding-005", "google"),
    ],
)
def test_the_name_of_a_model_tells_its_publisher(model: str, publisher: str) -> None:
    assert home_of(model).publisher == publisher


@pytest.mark.parametrize(
    "model", ["", "a/b", "../x", "gemini:predict", "gemini?x", "gemini%2F", "é", "m" * 129]
)
def test_a_name_that_would_change_the_path_is_refused(model: str) -> None:
    with pytest.raises(Rejected):
        VertexDialect(google.ROOT).encode(replace(CALL, model=model))


def test_what_a_model_is_tuned_with() -> None:
    tuning = Tuning(top_p=0.9, top_k=40, thinking_level="low", effort="high", verbosity="low")
    call = replace(CALL, tuning=tuning, stop=tuple("abcdefg"))
    body = msgspec.json.decode(VertexDialect(google.ROOT).encode(call).body)
    assert body["generationConfig"] == {
        "maxOutputTokens": 64,
        "topP": 0.9,
        "topK": 40,
        "stopSequences": ["a", "b", "c", "d", "e"],
        "thinkingConfig": {"thinkingLevel": "LOW"},
    }


@pytest.mark.parametrize(
    "path",
    [
        FORWARDED,
        FORWARDED.replace("generateContent", "streamGenerateContent") + "?alt=sse",
        FORWARDED.replace("generateContent", "serverStreamingPredict"),
        FORWARDED.replace("gemini-2.5-flash:generateContent", "text-embedding-005:predict"),
        f"{google.THEIRS}/publishers/anthropic/models/claude-sonnet-4-5@20250929:streamRawPredict",
    ],
)
async def test_h11_65_a_forwarded_path_gets_the_servers_project_and_location(
    outbound: HttpClient, path: str
) -> None:
    raw = RawCall(path, (("content-type", "application/json"),), b"{}", "m", streaming=False)
    async with replaying("vertex") as replay:
        door = on(replay, outbound)
        assert door.forwards(path)
        async with door.forward(raw, within()) as reply:
            assert reply.status == 200 or "serverStreaming" in path
        assert replay.requests[0].path == path.replace(google.THEIRS, google.ROOT)


@pytest.mark.parametrize(
    "path",
    [
        FORWARDED + "?alt=json",
        FORWARDED + "?alt=sse&x=1",
        FORWARDED + "/",
        FORWARDED.replace("generateContent", "rawPredict"),
        FORWARDED.replace("generateContent", "countTokens"),
        FORWARDED.replace("google", "mistralai"),
        FORWARDED.replace("/v1/", "/v1beta1/"),
        FORWARDED.replace("their-project", "their/project"),
        FORWARDED.replace("their-project", "p?x"),
        FORWARDED.replace("models/", "models/../"),
        FORWARDED.replace("gemini", "%67emini"),
        "/v1/projects/p/locations/l/endpoints/1:predict",
        f"/v1{FORWARDED}",
        "",
    ],
)
async def test_what_is_not_forwarded(outbound: HttpClient, path: str) -> None:
    async with replaying("vertex") as replay:
        assert not on(replay, outbound).forwards(path)


async def test_texts_go_in_batches_that_the_api_takes(outbound: HttpClient) -> None:
    async def handle(peer: Peer) -> None:
        while True:
            body = json.loads((await peer.read()).partition(b"\r\n\r\n")[2])
            made = [
                {"embeddings": {"values": [float(one["content"][:3])], "statistics": None}}
                for one in body["instances"]
            ]
            text = json.dumps({"predictions": made}).encode()
            await peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text))

    texts = tuple(f"{number:03}" for number in range(600))
    long = ("001" + "x" * 39_000, "002", "003" + "x" * 50_000, "004")
    async with serving(handle) as server:
        url = f"http://127.0.0.1:{server.port}"
        door = built(outbound)
        target = Target(url, "key")

        async def sizes(call: EmbedCall) -> list[int]:
            server.requests.clear()
            got = await door.embed(call, within())
            assert got.vectors == tuple((float(text[:3]),) for text in call.texts)
            bodies = [json.loads(asked.partition(b"\r\n\r\n")[2]) for asked in server.requests]
            return [len(body["instances"]) for body in bodies]

        call = EmbedCall("text-embedding-005", texts, target=target)
        assert await sizes(call) == [250, 250, 100]
        assert b"x-goog-api-key: key" in server.requests[0]
        assert (
            b"POST /v1/publishers/google/models/text-embedding-005:predict " in server.requests[0]
        )
        assert await sizes(replace(call, texts=long)) == [2, 1, 1]
        assert await sizes(replace(call, model="gemini-embedding-001", texts=texts[:3])) == [1] * 3
        assert await sizes(replace(call, texts=())) == []


async def test_embeddings_have_the_dimensions_that_are_asked_for(outbound: HttpClient) -> None:
    async with replaying("vertex") as replay:
        door = on(replay, outbound)
        got = await door.embed(EmbedCall("text-embedding-005", ("a", "b"), 3), within())
        assert got.vectors == ((0.25, 0.0, -0.5), (0.5, 1.0, 0.0))
        assert got.usage == Usage(input_tokens=10)
        assert replay.requests[0].json() == {
            "instances": [{"content": "a"}, {"content": "b"}],
            "parameters": {"outputDimensionality": 3},
        }
        with pytest.raises(UpstreamFailed):
            await door.embed(EmbedCall("text-embedding-005", ("a",)), within())


def test_it_is_configured_by_a_project_and_a_credential(tmp_path: Path) -> None:
    outbound = Recorder()
    account = google.service_account("https://oauth2.googleapis.com/token")
    path = tmp_path / "key.json"
    path.write_text(account, encoding="utf-8")
    assert built(outbound, project="p", credentials=f"'{account}'").configured
    assert built(outbound, project="p", credentials_file=path).configured
    assert not built(outbound, project="p").configured
    assert not built(outbound, credentials="nonsense").configured


async def test_without_a_credential_it_says_so() -> None:
    with pytest.raises(MisconfiguredProvider):
        await collect(built(Recorder(), project="p").stream(CALL, within()))


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        ("s3cret", "not the JSON of a Google credential"),
        ('{"type":"external_account"}', "neither a service account's key nor a user's"),
        ('{"type":"service_account","client_email":"a@b","private_key":"s3cret"}', "PEM"),
        ('{"type":"authorized_user","client_id":"s3cret"}', "neither a service account's"),
    ],
)
def test_a_credential_that_cannot_be_used_is_told_at_the_start(
    tmp_path: Path, credentials: str, said: str
) -> None:
    outbound = Recorder()
    with pytest.raises(SettingsError, match=r"^providers\.vertex\.credentials: .*") as raised:
        built(outbound, project="p", credentials=credentials)
    assert said in str(raised.value)
    assert "s3cret" not in str(raised.value)
    with pytest.raises(SettingsError, match=r"^providers\.vertex\.credentials_file: "):
        built(outbound, project="p", credentials_file=tmp_path / "none.json")


def client_of(replay: Replay) -> Client:
    return Client(
        vertexai=True,
        project=google.PROJECT,
        location=google.LOCATION,
        credentials=Credentials(token=KEY),
        http_options=types.HttpOptions(base_url=replay.base_url, api_version="v1"),
    )


async def test_the_replay_satisfies_the_google_sdk() -> None:
    async with replaying("vertex") as replay, client_of(replay).aio as sdk:
        whole = await sdk.models.generate_content(model="gemini-2.5-flash", contents="Hi")
        assert whole.text == "Hello, hola, salut."
        stream = await sdk.models.generate_content_stream(model="gemini-2.5-flash", contents="Hi")
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.text or "" for chunk in chunks) == "Hello, grüß Gott 👋"
        usage = chunks[-1].usage_metadata
        assert usage is not None
        assert (usage.cached_content_token_count, usage.thoughts_token_count) == (1000, 31)
        made = await sdk.models.embed_content(model="text-embedding-005", contents=["a", "b"])
        assert made.embeddings is not None
        assert made.embeddings[1].values == [0.5, 1.0, 0.0]
        replay.play("rate_limited", "blocked_prompt")
        with pytest.raises(errors.ClientError) as raised:
            await sdk.models.generate_content(model="gemini-2.5-flash", contents="Hi")
        assert (raised.value.code, raised.value.status) == (429, "RESOURCE_EXHAUSTED")
        stream = await sdk.models.generate_content_stream(model="gemini-2.5-flash", contents="Hi")
        blocked = [chunk async for chunk in stream][-1].prompt_feedback
        assert blocked is not None
        assert blocked.block_reason == types.BlockedReason.PROHIBITED_CONTENT


async def test_the_replay_satisfies_anthropics_sdk_for_vertex() -> None:
    async with replaying("vertex") as replay:
        sdk = AsyncAnthropicVertex(
            region=google.LOCATION,
            project_id=google.PROJECT,
            access_token=KEY,
            base_url=f"{replay.base_url}/v1",
            max_retries=0,
        )
        async with sdk:
            async with sdk.messages.stream(
                model="claude-sonnet-4-5@20250929",
                max_tokens=64,
                messages=[{"role": "user", "content": "Hi"}],
            ) as stream:
                final = await stream.get_final_message()
            assert final.usage.cache_read_input_tokens == 1000
            asked = replay.requests[-1].json()
            assert "model" not in asked
            assert asked["anthropic_version"]
