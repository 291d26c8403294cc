"""Answers say by which id a suggestion can be judged, and verdicts count with what it says."""

from typing import Any

import httpx
import pytest

from isthmus.core.events import ModelCalled, SuggestionJudged
from isthmus.core.identity import Caller
from isthmus.gateway.judge import ID_LIMIT_CHARS, REMEMBERED, Judge
from tests.support.sink import MemorySink
from tests.support.suggest_stand import Editor, Scripted

ANYBODY = Caller("1")
FILE = {"file_name": "a.py", "content_above_cursor": "x = ", "content_below_cursor": "\n"}
V2: dict[str, Any] = {"prompt_version": 1, "current_file": FILE}
COMPONENTS = {
    kind: {"prompt_components": [{"type": f"code_editor_{kind}", "payload": FILE}]}
    for kind in ("completion", "generation")
}
STREAMED = {
    "prompt_components": [{"type": "code_editor_completion", "payload": FILE | {"stream": True}}]
}


def editor(**more: Any) -> Editor:
    return Editor(providers=(Scripted("anthropic", "42"),), **more)


async def judged(editor: Editor, reply: httpx.Response, verdict: str) -> SuggestionJudged:
    suggestion = reply.headers["x-suggestion-id"]
    told = await editor.ask("POST", f"/v1/suggestions/{suggestion}/{verdict}")
    assert (told.status_code, told.content) == (204, b"")
    return editor.stand.sink.of(SuggestionJudged)[-1]


@pytest.mark.parametrize(
    ("path", "body", "feature"),
    [
        ("/v2/code/completions", V2, "code_completions"),
        ("/v2/completions", V2 | {"stream": True}, "code_completions"),
        ("/v2/code/generations", V2, "code_generations"),
        ("/v3/code/completions", COMPONENTS["completion"], "code_completions"),
        ("/v3/code/completions", COMPONENTS["generation"], "code_generations"),
        ("/v4/code/suggestions", COMPONENTS["completion"], "code_completions"),
        ("/v4/code/suggestions", STREAMED, "code_completions"),
    ],
)
async def test_every_answer_can_be_judged(path: str, body: object, feature: str) -> None:
    one = editor()
    reply = await one.post(path, body)
    assert reply.status_code == 200
    fact = await judged(one, reply, "accepted")
    (called,) = one.stand.sink.of(ModelCalled)
    assert (fact.verdict, fact.feature, fact.language) == ("accepted", feature, "python")
    assert (fact.call_id, fact.model) == (called.call_id, called.model)
    assert fact.feature == called.feature
    assert fact.call_id


async def test_an_answer_without_a_model_has_no_id() -> None:
    one = editor()
    unknown = V2 | {"current_file": FILE | {"file_name": "Dockerfile"}}
    reply = await one.post("/v2/code/completions", unknown)
    assert reply.json()["choices"] == []
    assert "x-suggestion-id" not in reply.headers


async def test_verdicts_need_a_caller_who_may_have_suggestions() -> None:
    strange = editor(scopes=("duo_chat",))
    assert (await strange.ask("POST", "/v1/suggestions/x/shown")).status_code == 403
    known = editor(scopes=("generate_code",))
    assert (await known.ask("POST", "/v1/suggestions/x/shown")).status_code == 204
    (fact,) = known.stand.sink.of(SuggestionJudged)
    assert fact.who.instance == "https://gitlab.test"


@pytest.mark.parametrize("path", ["x/praised", "x/", "/shown", "x/y/shown"])
async def test_other_paths_are_nothing(path: str) -> None:
    one = editor()
    assert (await one.ask("POST", f"/v1/suggestions/{path}")).status_code == 404
    assert one.stand.sink.of(SuggestionJudged) == []


@pytest.mark.parametrize(
    "unknown", ["x", "a.b.c", "a.c.!!", "a.c._w", "...", "a.c." + "A" * 5_000, "%00%FF", "ü☃"]
)
async def test_unknown_ids_are_taken_and_say_nothing(unknown: str) -> None:
    one = editor()
    reply = await one.ask("POST", f"/v1/suggestions/{unknown}/rejected")
    assert reply.status_code == 204
    (fact,) = one.stand.sink.of(SuggestionJudged)
    assert fact.verdict == "rejected"
    assert len(fact.call_id) + len(fact.language) + len(fact.model) <= ID_LIMIT_CHARS


def test_a_verdict_counts_once_and_few_are_remembered() -> None:
    sink = MemorySink()
    judge = Judge(sink)
    for _ in range(3):
        judge.count("x", "shown", ANYBODY)
        judge.count("x", "accepted", ANYBODY)
    assert [fact.verdict for fact in sink.facts if isinstance(fact, SuggestionJudged)] == [
        "shown",
        "accepted",
    ]
    for index in range(2 * REMEMBERED + 2):
        judge.count(f"y{index}", "shown", ANYBODY)
    judge.count("x", "shown", ANYBODY)
    assert len(sink.facts) == 2 * REMEMBERED + 5


async def test_counters_of_an_editor_are_told_by_model_and_language() -> None:
    one = editor()
    counters = [
        {
            "model_engine": "e",
            "model_name": "m",
            "lang": "go",
            "requests": 9,
            "accepts": 4,
            "errors": 2,
        },
        {"requests": 0, "accepts": 0, "errors": 0},
        {"requests": 1, "accepts": -5, "errors": 3},
    ]
    reply = await one.post("/v2/code/completions", V2 | {"telemetry": counters})
    assert reply.status_code == 200
    told = [
        (fact.verdict, fact.language, fact.model, fact.count, fact.feature, fact.call_id)
        for fact in one.stand.sink.of(SuggestionJudged)
    ]
    assert told == [
        ("shown", "go", "m", 7, "code_completions", ""),
        ("accepted", "go", "m", 4, "code_completions", ""),
        ("failed", "go", "m", 2, "code_completions", ""),
        ("failed", "", "", 3, "code_completions", ""),
    ]


async def test_counters_of_a_caller_who_may_not_ask_count_nothing() -> None:
    one = editor(scopes=("duo_chat",))
    counters = [{"requests": 9, "accepts": 4, "errors": 2}]
    reply = await one.post("/v2/code/completions", V2 | {"telemetry": counters})
    assert reply.status_code == 403
    assert one.stand.sink.of(SuggestionJudged) == []
