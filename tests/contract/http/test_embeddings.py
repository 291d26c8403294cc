"""`/v1/embeddings/code_embeddings`, its other names, and `/internal/embeddings`, on the wire."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import httpx
import pytest

from isthmus.adapters.providers._batches import Batches
from isthmus.adapters.providers.local import LocalProvider
from isthmus.auth.authenticate import AuthPolicy
from isthmus.core.deadline import Deadline
from isthmus.core.errors import UpstreamFailed, UpstreamLimited, UpstreamTimeout
from isthmus.core.events import FeatureUsed, ModelCalled
from isthmus.core.messages import EmbedCall, Embeddings, Target, Usage
from isthmus.core.ports import ModelProvider
from isthmus.edge.http.app import create
from isthmus.gateway.embed import TEXT_CHARS_MOST, TEXTS_MOST, Embed
from isthmus.routing.catalogue import CustomModels
from isthmus.routing.models import Models
from isthmus.settings import OutboundSettings
from tests.support.clock import HandClock
from tests.support.http_app import SERVICE, ScriptedUpstream, Stand, bearer
from tests.support.suggest_stand import CATALOGUE

PATHS = [f"/v1/embeddings/code_embeddings{end}" for end in ("", "/index", "/search")]
INTERNAL = "/internal/embeddings"
SCOPE = "generate_embeddings_codebase"
OURS = {"provider": "gitlab", "identifier": "wordllama_local"}
THEIRS = {
    "provider": "litellm",
    "name": "embedding",
    "identifier": "openai/bge-small",
    "endpoint": "http://vllm.test:8000/v1/",
    "api_key": "k",
}


class Remote(ScriptedUpstream):
    """A server of the caller's own: one vector for whatever it gets, or a failure."""

    def __init__(self) -> None:
        super().__init__("custom", (), ())
        self.configured = False
        self.asked: list[EmbedCall] = []

    async def embed(self, call: EmbedCall, deadline: Deadline) -> Embeddings:
        assert deadline.at_s > 0
        self.asked.append(call)
        if self.failure is not None:
            raise self.failure
        return Embeddings([(0.5, 1.0)] * len(call.texts), Usage(input_tokens=3))


@dataclass
class Client:
    """A caller with the application before it."""

    scopes: tuple[str, ...] = (SCOPE,)
    custom: bool = True
    remote: Remote = field(default_factory=Remote)
    stand: Stand = field(default_factory=lambda: Stand(policy=AuthPolicy(SERVICE)))

    async def post(self, path: str, body: object) -> httpx.Response:
        stand = self.stand
        catalogue = replace(CATALOGUE, custom=CustomModels(self.custom))
        providers: dict[str, ModelProvider] = {
            "local": LocalProvider(Batches(1, HandClock())),
            "custom": self.remote,
        }
        models = Models(providers, catalogue, OutboundSettings(), stand.sink, stand.clock)
        app = create(replace(stand.services(), embed=Embed(models, stand.sink)))
        headers = bearer({"scopes": list(self.scopes)})
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            return await http.post(path, json=body, headers=headers)


def body(metadata: object = OURS, **more: object) -> dict[str, object]:
    return {"model_metadata": metadata, "contents": ["def f(): pass", "class A: ..."]} | more


@pytest.mark.parametrize("path", PATHS)
async def test_h11_66_one_prediction_for_each_input(path: str) -> None:
    client = Client()
    reply = await client.post(path, body(contents=[f"text {n}" for n in range(150)]))
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    answer = reply.json()
    assert answer["model"] == {
        "engine": "litellm_embedding",
        "name": "wordllama",
        "identifier": "wordllama_local",
    }
    assert [one["index"] for one in answer["predictions"]] == list(range(150))
    assert {len(one["embedding"]) for one in answer["predictions"]} == {256}
    alone = (await Client().post(path, body(contents=["text 137"]))).json()["predictions"][0]
    assert answer["predictions"][137] == alone | {"index": 137}
    (used,) = client.stand.sink.of(FeatureUsed)
    assert used.unit_primitive == SCOPE
    (called,) = client.stand.sink.of(ModelCalled)
    assert (called.feature, called.error) == ("embeddings_code", "none")
    assert called.usage is not None
    assert called.usage.input_tokens >= 150


async def test_h11_66_a_server_of_the_callers_own() -> None:
    client = Client()
    reply = await client.post(PATHS[0], body(THEIRS, dimensions=2, litellm_drop_params=True))
    assert reply.json() == {
        "model": {
            "engine": "litellm_embedding",
            "name": "bge-small",
            "identifier": "openai/bge-small",
        },
        "predictions": [
            {"embedding": [0.5, 1.0], "index": 0},
            {"embedding": [0.5, 1.0], "index": 1},
        ],
    }
    (call,) = client.remote.asked
    assert call.target == Target("http://vllm.test:8000/v1", "k")
    assert (call.model, call.dimensions, call.drop_unsupported) == ("bge-small", 2, True)


def without(*names: str, **more: object) -> Mapping[str, object]:
    return {name: value for name, value in THEIRS.items() if name not in names} | more


@pytest.mark.parametrize(
    ("metadata", "detail"),
    [
        (without(provider="openai"), "Allowed providers are: gitlab|litellm."),
        (without(provider="amazon_q"), "Allowed providers are: gitlab|litellm."),
        (without("name"), "Model `name` must be set when using `litellm` provider."),
        (
            without(name="mistral"),
            "Model `name` must be 'embedding' when using `litellm` provider.",
        ),
        (without("endpoint"), "Model `endpoint` must be set when using `litellm` provider."),
    ],
)
async def test_h11_66_strict_metadata(metadata: object, detail: str) -> None:
    reply = await Client().post(PATHS[0], body(metadata))
    assert (reply.status_code, reply.json()) == (422, {"detail": detail})


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        "gitlab",
        {},
        {"provider": "gitlab"},
        {"provider": "gitlab", "identifier": "no_such_model"},
        {"provider": "gitlab", "identifier": "claude_sonnet_4_6"},
        without(endpoint="not a url"),
        without(endpoint="http://x/" + "a" * 255),
        without("identifier"),
    ],
)
async def test_metadata_that_means_nothing_is_refused(metadata: object) -> None:
    client = Client()
    reply = await client.post(PATHS[0], body(metadata))
    assert reply.status_code == 422
    assert reply.json()["detail"].startswith("Error creating the model_metadata: ")
    assert not client.stand.sink.of(ModelCalled)


async def test_a_server_may_be_named_only_where_the_operator_allows_it() -> None:
    reply = await Client(custom=False).post(PATHS[0], body(THEIRS))
    assert reply.status_code == 422
    detail = "specifying custom models endpoint is disabled: api_base is not allowed"
    assert reply.json() == {"detail": detail}


async def test_a_model_whose_provider_is_not_there_is_not_replaced() -> None:
    metadata = {"provider": "gitlab", "identifier": "text_embedding_005_vertex"}
    assert (await Client().post(PATHS[0], body(metadata))).status_code == 503


@pytest.mark.parametrize("path", [PATHS[0], INTERNAL])
async def test_without_the_scope(path: str) -> None:
    reply = await Client(scopes=("complete_code",)).post(path, body(content="x"))
    assert reply.status_code == 403
    assert reply.json() == {"detail": f"Unauthorized to access {SCOPE}"}


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"contents": ["x"] * (TEXTS_MOST + 1)}, "`contents`"),
        ({"contents": ["x", "y" * (TEXT_CHARS_MOST + 1)]}, "`contents[1]`"),
    ],
)
async def test_bounds_are_named(more: dict[str, object], named: str) -> None:
    reply = await Client().post(PATHS[0], body(**more))
    assert reply.status_code == 422
    assert reply.json()["detail"].startswith(named)


@pytest.mark.parametrize("contents", [None, "x", [1], [None]])
async def test_a_body_that_does_not_fit(contents: object) -> None:
    reply = await Client().post(PATHS[0], body(contents=contents))
    assert (reply.status_code, reply.json()) == (422, {"detail": "Validation error"})


async def test_nothing_in_nothing_out() -> None:
    reply = await Client().post(PATHS[0], body(contents=[]))
    assert reply.json()["predictions"] == []


async def test_dimensions_are_cut_refused_or_dropped() -> None:
    client = Client()
    cut = await client.post(PATHS[0], body(dimensions=64))
    assert {len(one["embedding"]) for one in cut.json()["predictions"]} == {64}
    refused = await client.post(PATHS[0], body(dimensions=100))
    assert refused.status_code == 400
    assert refused.json()["detail"].startswith("`dimensions` must be one of 64, 128, 256")
    assert (await client.post(PATHS[0], body(dimensions=-1))).status_code == 400
    dropped = await client.post(PATHS[0], body(dimensions=100, litellm_drop_params=True))
    assert {len(one["embedding"]) for one in dropped.json()["predictions"]} == {256}
    zero = await client.post(PATHS[0], body(dimensions=0))
    assert zero.status_code == 200


@pytest.mark.parametrize(
    ("failure", "status", "again_s"),
    [
        (UpstreamFailed("Bad.", status=400), 400, None),
        (UpstreamFailed("Bad key.", status=401), 401, None),
        (UpstreamLimited("Slow down.", status=429, retry_after_s=6.5), 429, "7"),
        (UpstreamFailed("Broken.", status=500), 503, None),
        (UpstreamTimeout("Slow.", "total"), 503, "5"),
    ],
)
async def test_upstream_failures(failure: Exception, status: int, again_s: str | None) -> None:
    client = Client()
    client.remote.failure = failure
    reply = await client.post(PATHS[0], body(THEIRS))
    assert reply.status_code == status
    assert set(reply.json()) == {"detail"}
    assert reply.headers.get("retry-after") == again_s


async def test_internal_one_text_has_one_vector() -> None:
    client = Client()
    metadata = {"source": "GitLab EE", "version": "18.5", "more": 1}
    sent = {"content": "def f(): pass", "content_type": "code", "metadata": metadata}
    reply = await client.post(INTERNAL, sent)
    answer = reply.json()
    assert reply.status_code == 200
    assert len(answer.pop("vector")) == 256
    assert answer == {
        "model": "wordllama",
        "provider": "local",
        "identifier": "wordllama_local",
    }


async def test_internal_many_texts_have_many_vectors() -> None:
    sent = {"content": ["a", "b"], "metadata": {"identifier": "wordllama_local"}, "dimensions": 128}
    answer = (await Client().post(INTERNAL, sent)).json()
    assert [len(vector) for vector in answer["vectors"]] == [128, 128]
    assert "vector" not in answer


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"content": 1},
        {"content": "x", "content_type": "x" * 256},
        {"content": ["x"] * (TEXTS_MOST + 1)},
        {"content": "x", "metadata": {"identifier": "no_such_model"}},
        {"content": "x", "metadata": {"identifier": "local"}},
    ],
)
async def test_internal_what_does_not_fit(sent: object) -> None:
    assert (await Client().post(INTERNAL, sent)).status_code == 422
