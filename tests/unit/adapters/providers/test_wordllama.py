"""WordLlama on its real weights. Sockets are refused here: nothing is fetched."""

import math
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.adapters.providers._batches import Batches
from isthmus.adapters.providers._wordllama import PIECE_CHARS, WordLlama
from isthmus.adapters.providers.local import LocalProvider
from isthmus.core.deadline import Deadline
from isthmus.core.errors import Invalid, MisconfiguredProvider
from isthmus.core.messages import EmbedCall
from tests.support.clock import HandClock

LONG = Deadline(at_s=HandClock().now_s() + 3600)
TEXTS = (
    "def read_file(path): open the file and return its text",
    "load a document from disk and give back its contents",
    "the weather in Lisbon is warm and sunny in June",
)


@cache
def model() -> WordLlama:
    return WordLlama.load()


def embedder(threads: int = 1) -> LocalProvider:
    return LocalProvider(Batches(threads, HandClock(), lambda: model().vectors))


async def embed(*texts: str, dimensions: int | None = None) -> list[list[float]]:
    call = EmbedCall("wordllama", texts, dimensions)
    return [list(vector) for vector in (await embedder().embed(call, LONG)).vectors]


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("dimensions", [None, 64, 128, 256])
async def test_near_texts_have_near_vectors(dimensions: int | None) -> None:
    code, prose, weather = await embed(*TEXTS, dimensions=dimensions)
    assert len(code) == (dimensions or 256)
    for vector in (code, prose, weather):
        assert math.isclose(cosine(vector, vector), 1.0, abs_tol=1e-4)
    assert cosine(code, prose) > cosine(code, weather) + 0.1


async def test_the_model_is_found_by_itself_and_tokens_are_counted() -> None:
    provider = LocalProvider(Batches(1, HandClock()))
    made = await provider.embed(EmbedCall("wordllama", TEXTS), LONG)
    assert made.usage is not None
    assert made.usage.input_tokens > 30
    assert [list(vector) for vector in made.vectors] == await embed(*TEXTS)


async def test_texts_without_tokens_are_zeros() -> None:
    empty, word = await embed("", "word")
    assert set(empty) == {0.0}
    assert any(word)


async def test_a_text_has_one_vector_in_whatever_company() -> None:
    alone = await embed("some text")
    assert (await embed("x " * 50_000, "some text", "日本語 " * 9_000))[1] == alone[0]


async def test_a_long_text_is_the_average_of_its_words() -> None:
    short, long = await embed("alpha beta", " ".join(["alpha beta"] * PIECE_CHARS))
    assert cosine(short, long) > 0.9999


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), max_size=8))
def test_any_texts_have_finite_vectors(texts: list[str]) -> None:
    ((vectors, _),) = model().vectors([(texts, 64)])
    assert len(vectors) == len(texts)
    assert all(math.isfinite(number) for vector in vectors for number in vector)


async def test_unknown_dimensions_are_refused_or_dropped() -> None:
    with pytest.raises(Invalid, match="64, 128, 256") as raised:
        await embed("x", dimensions=100)
    assert raised.value.fields[0].field == "dimensions"
    call = EmbedCall("wordllama", ("x",), 100, drop_unsupported=True)
    assert len((await embedder().embed(call, LONG)).vectors[0]) == 256


async def test_switched_off_it_makes_none() -> None:
    with pytest.raises(MisconfiguredProvider, match="switched off"):
        await LocalProvider().embed(EmbedCall("wordllama", ("x",)), LONG)


async def test_only_the_threads_that_are_allowed_are_started() -> None:
    def running() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    before = running()
    await embedder(2).embed(EmbedCall("wordllama", TEXTS * 200), LONG)
    assert running() <= before + 2
