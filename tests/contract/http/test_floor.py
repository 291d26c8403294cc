"""When every provider is down: completions go on, everything else says when to try again."""

from collections.abc import Mapping
from typing import Any

import pytest

from isthmus.adapters.providers.local import LocalProvider
from isthmus.core.errors import UpstreamFailed, UpstreamLimited, UpstreamTimeout
from isthmus.core.events import ModelCalled, TryFailed
from tests.support.suggest_stand import Editor, Scripted

ABOVE = (
    "def add(a, b):\n    return a + b\n\n\ndef sub(a, b):\n    return a - b\n\n\n"
    "def add2(a, b):\n    ret"
)
DOWN = [
    UpstreamFailed("x", status=500, retryable=True),
    UpstreamLimited("x", status=429, retryable=True, retry_after_s=60),
    UpstreamTimeout("x", "first_byte"),
    UpstreamFailed("key", status=401),
]
EVERYWHERE = pytest.mark.parametrize("failure", DOWN, ids=lambda each: type(each).__name__)


def body(**changes: Any) -> Mapping[str, object]:
    return {
        "project_path": "a/b",
        "project_id": 1,
        "current_file": {
            "file_name": "a.py",
            "content_above_cursor": ABOVE,
            "content_below_cursor": "",
        },
        "prompt_version": 1,
    } | changes


def down(failure: Exception) -> Editor:
    providers = [Scripted(name, failure) for name in ("anthropic", "fireworks", "vertex")]
    return Editor((*providers, LocalProvider()))


@EVERYWHERE
async def test_completions_are_answered_by_the_floor(failure: Exception) -> None:
    editor = down(failure)
    for _ in range(3):
        reply = await editor.post("/v2/code/completions", body())
        assert reply.status_code == 200
        assert reply.json()["model"]["engine"] == "local"
        assert reply.json()["choices"][0]["text"].startswith("urn a")
    assert editor.stand.sink.of(TryFailed)[-1].then == "floor"
    assert editor.stand.sink.of(ModelCalled)[-1].engine == "local"


@EVERYWHERE
async def test_streamed_completions_too(failure: Exception) -> None:
    reply = await down(failure).post("/v2/code/completions", body(stream=True))
    assert (reply.status_code, reply.text[:5]) == (200, "urn a")


async def test_a_model_that_was_named_is_replaced_by_the_floor_alone() -> None:
    editor = down(DOWN[0])
    named = body(model_provider="vertex-ai", model_name="codestral-2501")
    reply = await editor.post("/v2/code/completions", named)
    assert reply.status_code == 200
    assert reply.json()["model"]["engine"] == "local"
    asked = [call.provider for call in editor.stand.sink.of(ModelCalled)]
    assert len(asked) == 2
    assert asked[1] == "local"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("failure", [DOWN[0], DOWN[2]])
async def test_generations_are_not(failure: Exception, stream: bool) -> None:
    reply = await down(failure).post("/v2/code/generations", body(stream=stream))
    assert reply.status_code == 503
    assert int(reply.headers["retry-after"]) > 0
