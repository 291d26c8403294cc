"""Running a registered prompt: which model, what it is sent, what comes back."""

import pytest
from msgspec.structs import replace

from isthmus.core.errors import Forbidden, Invalid, NotFound
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.messages import Chat, Infill, ModelMetadata, Text, Tuning, Usage, collect
from isthmus.gateway.invoke import Invocation, Invoke, Prepared, Told
from isthmus.prompts.registry import Registry
from isthmus.routing.catalogue import Catalogue, CompletionStyle, Feature, Kind, Model
from isthmus.routing.models import Models
from isthmus.settings import ModelsSettings, OutboundSettings
from tests.support.clock import HandClock
from tests.support.sink import MemorySink
from tests.support.suggest_stand import Scripted

CALLER = Caller("one", scopes=frozenset({"summarize_review"}))
CLIENT = ClientInfo()
NOTES = """
name: Notes
unit_primitive: summarize_review
pin: old
model: {params: {temperature: 0.1, top_p: 0.5, max_tokens: 64}}
prompt_template: {system: "Today is {{ current_date }}.", user: "{{ changes }}"}
params: {timeout: 12, stop: [END]}
"""
FILL = """
name: Fill
unit_primitive: summarize_review
prompt_template: {user: "{{ prefix }}|{{ suffix }} {{ language }} {{ file_name }}"}
"""


def model(name: str, kind: Kind = "chat", *, hidden: bool = False) -> Model:
    return Model(
        id=name,
        name=name,
        provider="anthropic" if name != "gone" else "vertex",
        max_context_tokens=1000,
        max_output_tokens=100,
        kinds=(kind,),
        upstream=f"up-{name}",
        strip_reasoning=hidden,
        completion=CompletionStyle(type="text") if kind == "infill" else None,
    )


def invoke(
    provider: Scripted, *, pin: str = "old", sink: MemorySink | None = None, hidden: bool = False
) -> Invoke:
    clock = HandClock()
    listed = (model("new", hidden=hidden), model("old"), model("gone"), model("fill", "infill"))
    catalogue = Catalogue(
        {each.id: each for each in listed},
        {
            "notes": Feature(feature="notes", kind="chat", default_models=("new",)),
            "fill": Feature(feature="fill", kind="infill", default_models=("fill",)),
        },
    )
    telemetry = sink or MemorySink()
    models = Models({"anthropic": provider}, catalogue, OutboundSettings(), telemetry, clock)
    prompts = Registry(
        {"notes/1.0.0.yml": NOTES.replace("pin: old", f"pin: {pin}"), "fill/1.0.0.yml": FILL}
    )
    return Invoke(models, prompts, telemetry, clock, ModelsSettings(chat_timeout_s=20))


def asked(**changes: object) -> Invocation:
    return replace(Invocation("notes", inputs={"changes": "a"}), **changes)


def prepared(request: Invocation, pin: str = "old") -> Prepared:
    return invoke(Scripted("anthropic"), pin=pin).prepare(request, CALLER, CLIENT)


def test_the_call_is_what_the_prompt_says() -> None:
    call = prepared(asked())
    ask = call.ask
    assert (ask.max_tokens, ask.temperature, ask.stop) == (64, 0.1, ("END",))
    assert (ask.timeout_s, ask.tuning) == (12, Tuning(top_p=0.5))
    assert (ask.feature, ask.unit_primitive) == ("notes", "summarize_review")
    assert isinstance(ask.prompt, Chat)
    (system, user) = ask.prompt.messages
    assert system.parts[0] == Text("Today is January 01, 2026.")
    assert user.parts == (Text("a"),)


@pytest.mark.parametrize(
    ("version", "pin", "metadata", "served"),
    [
        ("^1.0.0", "old", None, "new"),
        ("1.0.0", "old", None, "old"),
        ("1.0.0", "gone", None, "new"),
        ("1.0.0", "never_there", None, "new"),
        ("1.0.0", "old", ModelMetadata("gitlab", name="new"), "new"),
        ("1.0.0", "old", ModelMetadata("gitlab", name="unknown"), "new"),
        ("1.0.0", "new", ModelMetadata("gitlab", identifier="old"), "old"),
    ],
)
def test_a_pin_counts_for_its_exact_version_and_for_callers_without_a_wish(
    version: str, pin: str, metadata: ModelMetadata | None, served: str
) -> None:
    assert prepared(asked(version=version, model=metadata), pin).choice.id == served


def test_a_callers_own_date_stays() -> None:
    call = prepared(asked(inputs={"changes": "a", "current_date": "yesterday"}))
    assert isinstance(call.ask.prompt, Chat)
    assert call.ask.prompt.messages[0].parts[0] == Text("Today is yesterday.")


def test_a_model_that_fills_in_gets_the_text_around_the_cursor() -> None:
    inputs = {"prefix": "a", "suffix": "b", "file_name": "c.py", "language": "Python"}
    call = prepared(asked(prompt_id="fill", inputs=inputs))
    assert call.ask.prompt == Infill("a", "b", "c.py", "Python")
    assert call.ask.timeout_s == 20


def test_what_is_refused() -> None:
    with pytest.raises(NotFound):
        prepared(asked(prompt_id="none"))
    with pytest.raises(Invalid) as caught:
        prepared(asked(inputs={}))
    assert caught.value.fields[0].field == "inputs.changes"
    with pytest.raises(Forbidden, match="Unauthorized to access 'notes'"):
        invoke(Scripted("anthropic")).prepare(asked(), Caller("two"), CLIENT)


THINKS = ("<think>Hm", "</think>Yes", ".")


async def test_what_a_model_says_to_itself_reaches_nobody() -> None:
    runner = invoke(Scripted("anthropic", *THINKS), hidden=True)
    call = runner.prepare(asked(), CALLER, CLIENT)
    assert await runner.whole(call, CALLER) == Told("Yes.", "up-new", Usage(21, 6))
    answer = await collect(runner.stream(call, CALLER))
    assert (answer.text, answer.usage, answer.finish) == ("Yes.", Usage(21, 6), "stop")


async def test_a_stream_that_is_closed_stops_the_model() -> None:
    for hidden in (False, True):
        provider = Scripted("anthropic", "a", "b")
        runner = invoke(provider, hidden=hidden)
        deltas = runner.stream(runner.prepare(asked(), CALLER, CLIENT), CALLER)
        await anext(deltas)
        await deltas.aclose()
        assert provider.closed == 1
