"""Code suggestions as a use case: permission, model, prompt, facts; no wire."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec
import pytest
from msgspec.structs import replace

from isthmus.adapters.providers.local import LocalProvider
from isthmus.core.deadline import Deadline
from isthmus.core.errors import Forbidden, Unavailable, UpstreamFailed
from isthmus.core.events import ModelCalled, PayloadSeen, SuggestionAsked, SuggestionTrimmed
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.messages import ContextItem, Delta, Infill, ModelCall
from isthmus.gateway.payloads import PayloadPolicy
from isthmus.gateway.suggest import TRYING_S
from isthmus.gateway.suggestion import SuggestRequest
from isthmus.settings import GatewaySettings
from tests.support.http_app import Stand
from tests.support.suggest_stand import CATALOGUE, Scripted, suggest_of

CALLER = Caller("1", scopes=frozenset({"complete_code", "generate_code"}))
CLIENT = ClientInfo()
ASKED = SuggestRequest(
    kind="completion",
    above="def add(a, b):\n    return ",
    below="\n",
    file_name="a.py",
    refusal="no",
    self_issued=True,
)


@pytest.mark.parametrize("scopes", [frozenset[str](), frozenset({"generate_code"})])
async def test_permission_comes_before_everything_else(scopes: frozenset[str]) -> None:
    stand, provider = Stand(), Scripted("anthropic", "a")
    with pytest.raises(Forbidden, match="no"):
        await suggest_of(stand, provider).whole(ASKED, Caller("1", scopes=scopes), CLIENT)
    assert not provider.calls
    assert not stand.sink.facts


async def test_a_token_of_our_own_is_refused_where_told() -> None:
    own = dataclasses.replace(CALLER, self_issued=True)
    suggest = suggest_of(Stand(), Scripted("anthropic", "a"))
    assert (await suggest.whole(ASKED, own, CLIENT)).text == "a"
    with pytest.raises(Forbidden):
        await suggest.whole(replace(ASKED, self_issued=False), own, CLIENT)
    with pytest.raises(Forbidden):
        await suggest.stream(replace(ASKED, self_issued=False), own, CLIENT)


async def test_what_happened_is_told_without_the_code() -> None:
    stand = Stand()
    asked = replace(ASKED, file_name="a.py", editor_language="my-own-editor")
    await suggest_of(stand, Scripted("anthropic", "a + b")).whole(asked, CALLER, CLIENT)
    assert stand.sink.of(SuggestionAsked) == [SuggestionAsked("python", "py", "")]
    assert len(stand.sink.of(SuggestionTrimmed)) == 1
    (called,) = stand.sink.of(ModelCalled)
    assert (called.feature, called.unit_primitive) == ("code_completions", "complete_code")
    assert not called.streaming
    assert "a + b" not in repr(stand.sink.facts)


async def test_the_answer_is_trimmed_whole_and_raw_in_a_stream() -> None:
    stand = Stand()
    suggest = suggest_of(stand, Scripted("anthropic", "return ", "a + b<cursor/>"))
    assert (await suggest.whole(ASKED, CALLER, CLIENT)).text == "a + b"
    stream = await suggest.stream(ASKED, CALLER, CLIENT)
    assert [text async for text in stream.text] == ["return ", "a + b<cursor/>"]
    assert stream.origin.language == "python"
    assert stand.sink.of(ModelCalled)[-1].streaming


async def test_leaving_a_stream_closes_the_model_s() -> None:
    for kind, chunk in (("completion", "a"), ("generation", "a\n")):
        provider = Scripted("anthropic", chunk, "b\n", "c\n")
        asked = replace(ASKED, kind=kind)
        stream = await suggest_of(Stand(), provider).stream(asked, CALLER, CLIENT)
        async with aclosing(stream.text) as text:
            assert await anext(text) == chunk
        assert provider.closed == 1


async def test_a_failing_model_fails_the_suggestion() -> None:
    suggest = suggest_of(Stand(), Scripted("anthropic", "a", UpstreamFailed("broke", status=500)))
    with pytest.raises(UpstreamFailed):
        await suggest.whole(ASKED, CALLER, CLIENT)
    stream = await suggest.stream(ASKED, CALLER, CLIENT)
    assert await anext(stream.text) == "a"
    with pytest.raises(UpstreamFailed):
        await anext(stream.text)


async def test_the_floor_gets_the_text_around_the_cursor_and_the_context() -> None:
    floor = Scripted("local", "x")
    asked = replace(ASKED, context=(ContextItem("file", "b.py", "b = 1"),))
    found = await suggest_of(Stand(), floor).whole(asked, CALLER, CLIENT)
    assert floor.calls[0].prompt == Infill(
        ASKED.above, ASKED.below, "a.py", "python", asked.context
    )
    assert (found.context_tokens_sent, found.context_tokens_used) == (2, 2)


async def test_the_floor_does_not_generate() -> None:
    with pytest.raises(Unavailable, match="ISTHMUS_PROVIDERS__OPENAI__BASE_URL"):
        await suggest_of(Stand(), LocalProvider()).whole(
            replace(ASKED, kind="generation"), CALLER, CLIENT
        )


async def test_gated_context_needs_a_recent_client() -> None:
    asked = replace(ASKED, context=(ContextItem("file", "b.py", "NEEDLE"),), context_gated=True)
    for version, sent in (("7.17.0", False), ("7.17.1", True)):
        floor = Scripted("local", "x")
        client = ClientInfo({"x-gitlab-language-server-version": version})
        await suggest_of(Stand(), floor).whole(asked, CALLER, client)
        assert ("NEEDLE" in floor.sent()) is sent


async def test_flags_are_listed_once_each() -> None:
    client = ClientInfo({"x-gitlab-enabled-feature-flags": "a,b,a"})
    suggest = suggest_of(Stand(), Scripted("anthropic", "x"))
    assert (await suggest.whole(ASKED, CALLER, client)).origin.flags == ("a", "b")


async def test_variables_of_the_caller_lie_over_our_own_and_are_never_templates() -> None:
    provider = Scripted("anthropic", "x")
    wish = {"user_instruction": "{{ prefix }} WISH", "unused": [1]}
    await suggest_of(Stand(), provider).whole(
        replace(ASKED, kind="generation", variables=wish), CALLER, CLIENT
    )
    assert "{{ prefix }} WISH" in provider.sent()


async def test_a_long_file_is_cut_to_a_small_model_and_still_served() -> None:
    small = dataclasses.replace(
        CATALOGUE,
        models={
            name: msgspec.structs.replace(
                model,
                max_context_tokens=4_000,
                max_output_tokens=min(1_000, model.max_output_tokens),
            )
            for name, model in CATALOGUE.models.items()
        },
    )
    for kind in ("completion", "generation"):
        provider = Scripted("anthropic", "x")
        asked = replace(ASKED, kind=kind, above="a = 1\n" * 16_000 + "NEAR = ", below="b" * 90_000)
        await suggest_of(Stand(), provider, catalogue=small).whole(asked, CALLER, CLIENT)
        assert "NEAR = <cursor/>bbb" in provider.sent()
        assert len(provider.sent()) < 12_000


async def test_words_are_logged_only_where_that_is_allowed() -> None:
    flagged = ClientInfo({"x-gitlab-enabled-feature-flags": "expanded_ai_logging"})
    for payloads, client, told in (
        (PayloadPolicy(), CLIENT, 0),
        (PayloadPolicy(), flagged, 2),
        (PayloadPolicy(always=True), CLIENT, 2),
    ):
        stand = Stand(payloads=payloads)
        await suggest_of(stand, Scripted("anthropic", "a + b")).whole(ASKED, CALLER, client)
        assert len(stand.sink.of(PayloadSeen)) == told


async def test_no_variant_is_tried_after_a_minute() -> None:
    stand = Stand()

    class Slow(Scripted):
        async def stream(self, call: ModelCall, deadline: Deadline) -> AsyncIterator[Delta]:
            stand.clock.advance(TRYING_S + 1)
            async for delta in super().stream(call, deadline):
                yield delta

    slow = Slow("anthropic", UpstreamFailed("no", status=500))
    asked = replace(ASKED, variants=(ASKED, ASKED))
    with pytest.raises(UpstreamFailed):
        await suggest_of(stand, slow).whole(asked, CALLER, CLIENT)
    assert len(slow.calls) == 1


async def test_what_a_model_says_to_itself_is_not_inserted() -> None:
    thinking = dataclasses.replace(
        CATALOGUE,
        models={
            name: replace(model, strip_reasoning=True) for name, model in CATALOGUE.models.items()
        },
    )
    provider = Scripted("anthropic", "<thi", "nk>hm</think>a", " + b")
    suggest = suggest_of(Stand(), provider, catalogue=thinking)
    assert (await suggest.whole(ASKED, CALLER, CLIENT)).text == "a + b"
    stream = await suggest.stream(ASKED, CALLER, CLIENT)
    assert "".join([text async for text in stream.text]) == "a + b"


def test_unknown_steps_are_refused_at_start() -> None:
    with pytest.raises(ValueError, match="no step `trim_all`"):
        suggest_of(Stand(), gateway=GatewaySettings(skipped_post_processing=("trim_all",)))
