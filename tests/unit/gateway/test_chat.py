"""The chat agent: who may ask, what the model is told, which events come."""

from collections.abc import Sequence

import pytest

from isthmus.core.errors import Forbidden, Invalid, NotBuilt
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.messages import Chat, Delta, ModelMetadata, Text, Usage
from isthmus.gateway.chat import ChatEvent, ChatRequest, ReactChat, Spent, Turn
from isthmus.gateway.invoke import Invoke
from isthmus.gateway.react import WARNING, AnswerDelta
from isthmus.gateway.readers import READERS, offered
from isthmus.prompts.registry import Registry
from isthmus.settings import ModelsSettings
from tests.support.clock import HandClock
from tests.support.scripted_models import ScriptedModels, say
from tests.support.sink import MemorySink

REACT = """
name: Chat
unit_primitive: duo_classic_chat
prompt_template:
  system: "{{ tools | map(attribute='name') | join }}; not {{ unavailable_resources | join }}"
  placeholder: history
  user: |
    {{ additional_context | map(attribute='category') | join }}
    {{ (current_file or {}).file_path | d("-") }}
    {{ question }}
"""
CLIENT = ClientInfo()
CLASSIC = frozenset({"duo_classic_chat"})


def caller(*scopes: str) -> Caller:
    return Caller("one", scopes=frozenset(scopes))


def chat(models: ScriptedModels) -> ReactChat:
    sink = MemorySink()
    prompts = Registry({"chat/react/1.0.0.yml": REACT})
    return ReactChat(Invoke(models, prompts, sink, HandClock(), ModelsSettings()), sink)


async def events(models: ScriptedModels, request: ChatRequest) -> list[ChatEvent]:
    stream = chat(models).open(request, Caller("one", scopes=CLASSIC), CLIENT)
    return [event async for event in stream.events]


def request(*turns: Turn, model: ModelMetadata | None = None) -> ChatRequest:
    return ChatRequest(turns or (Turn("user", "Well?"),), model=model)


async def test_a_guardrail_ends_the_answer_with_a_warning() -> None:
    line = [Delta("Final Answer: I ca"), Delta(finish="refused", usage=Usage(3, 2))]
    told = await events(ScriptedModels(line), request())
    assert told == [
        AnswerDelta("I ca"),
        AnswerDelta(f"\n\n{WARNING}", "guardrail_intervened"),
        Spent("up-1", Usage(3, 2)),
    ]


async def test_no_tokens_no_line() -> None:
    told = await events(ScriptedModels(say("Final Answer: x")), request())
    assert told == [AnswerDelta("x"), AnswerDelta("", "stop")]


async def test_the_newest_question_is_asked_and_what_was_shown_stays_in_view() -> None:
    models = ScriptedModels(say("Final Answer: x"))
    shown = ({"category": "terminal"},)
    turns = (
        Turn("user", "One?", current_file={"file_path": "a"}, additional_context=shown),
        Turn("assistant", "One."),
        Turn("user", "Two?"),
        Turn("assistant"),
    )
    asking = Caller("one", scopes=CLASSIC | {"include_terminal_context"})
    stream = chat(models).open(request(*turns), asking, CLIENT)
    assert [event async for event in stream.events]
    prompt = models.prompt()
    assert isinstance(prompt, Chat)
    said = [part.text for one in prompt.messages for part in one.parts if isinstance(part, Text)]
    assert said[1:3] == ["One?", "One."]
    assert said[3] == "terminal\na\nTwo?"


@pytest.mark.parametrize(
    ("scopes", "turns", "detail"),
    [
        ((), (Turn("user", "@GitLabDuo"),), "Unauthorized to access duo chat"),
        (("duo_chat",), (Turn("user", "x"),), "Duo Core no longer"),
        (("duo_chat",), (Turn("assistant", "@GitLabDuo"),), "Duo Core no longer"),
        (
            ("duo_classic_chat",),
            (Turn("user", "x", additional_context=({"category": "file"},)),),
            "include_file_context",
        ),
    ],
)
def test_who_may_not(scopes: tuple[str, ...], turns: tuple[Turn, ...], detail: str) -> None:
    models = ScriptedModels(say("x"))
    with pytest.raises(Forbidden, match=detail):
        chat(models).open(request(*turns), caller(*scopes), CLIENT)
    assert models.calls == []


def test_a_conversation_without_a_question_is_refused() -> None:
    with pytest.raises(Invalid):
        chat(ScriptedModels(say("x"))).open(
            request(Turn("assistant", "x")), caller(*CLASSIC), CLIENT
        )


def test_amazon_q_has_a_scope_of_its_own() -> None:
    asked = request(model=ModelMetadata("amazon_q", name="amazon_q"))
    with pytest.raises(Forbidden, match="duo chat"):
        chat(ScriptedModels(say("x"))).open(asked, caller(*CLASSIC), CLIENT)
    with pytest.raises(NotBuilt):
        chat(ScriptedModels(say("x"))).open(asked, caller("amazon_q_integration"), CLIENT)


NAMES = [reader.name for reader in READERS]


@pytest.mark.parametrize(
    ("version", "recent"),
    [
        ("17.5.0-pre", True),
        ("17.5", True),
        ("17.10.2", True),
        ("v18.0.0-ee", True),
        ("17.4.99", False),
        ("9.9.9", False),
        ("17", False),
        ("17.5.0.1", False),
        ("x17.5.0", False),
        ("", False),
    ],
)
def test_tools_of_recent_versions(version: str, recent: bool) -> None:
    client = ClientInfo({"x-gitlab-version": version})
    everything: Sequence[str] = [reader.name for reader in offered(caller(), client, every=True)]
    assert everything == (NAMES if recent else NAMES[3:])
    assert offered(caller(), client) == ()
    assert offered(Caller("one", debug=True), CLIENT) == READERS
