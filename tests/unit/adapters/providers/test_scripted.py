"""The scripted model: a tour of what the tools really showed, or a script played turn by turn."""

from pathlib import Path

import msgspec
import pytest

from isthmus.adapters.outbound.client import HttpClient
from isthmus.adapters.providers import scripted
from isthmus.adapters.providers._script import ScriptError, parse_script
from isthmus.adapters.providers._tour import LABEL, NOTE, next_turn
from isthmus.adapters.providers.scripted import ScriptedProvider
from isthmus.core.deadline import Deadline
from isthmus.core.errors import Rejected, UpstreamTimeout
from isthmus.core.messages import (
    Chat,
    EmbedCall,
    Infill,
    Message,
    ModelCall,
    RawCall,
    Text,
    ToolResult,
    ToolSpec,
    ToolUse,
    collect,
)
from isthmus.platform.trust import frame_of
from isthmus.settings import OutboundSettings, ProvidersSettings
from tests.support.clock import HandClock

TOOLS = tuple(
    ToolSpec(name, "", {})
    for name in ("list_dir", "read_file", "grep", "find_files", "create_file_with_contents")
)
DEADLINE = Deadline(2000.0)
LIMITS = OutboundSettings()


class Walk:
    """Runs the tour against a pretended workspace; each entry is a text, or a failure."""

    def __init__(self, answers: dict[str, str | Exception], goal: str = "Look around") -> None:
        self.answers = answers
        self.messages = [
            Message("system", (Text("You help."),)),
            Message("user", (Text(goal),)),
        ]
        self.uses: list[ToolUse] = []
        self.texts: list[str] = []

    def run(self, tools: tuple[ToolSpec, ...] = TOOLS) -> str:
        for _ in range(20):
            said = next_turn(Chat(tuple(self.messages), tools))
            self.texts.append(said.text)
            if said.tool_use is None:
                return said.text
            self.uses.append(said.tool_use)
            self.messages.append(Message("assistant", (Text(said.text), said.tool_use)))
            answer = self.answers.get(said.tool_use.name, "")
            result = ToolResult(said.tool_use.id, str(answer), isinstance(answer, Exception))
            self.messages.append(Message("user", (result,)))
        raise AssertionError("the tour never ends")


WORKSPACE: dict[str, str | Exception] = {
    "list_dir": "src/\ntests/\nReadMe.rst\nsetup.py\n",
    "read_file": "\nThe Great Project\n=================\nIt does things.\n",
    "grep": "src/a.py:3: # TODO: mend this\nsrc/b.py:9: todo later\n",
    "find_files": "tests/test_a.py\n",
    "create_file_with_contents": "Created",
}


def test_the_tour_sums_up_what_it_saw() -> None:
    walk = Walk(WORKSPACE)
    end = walk.run()
    assert [use.name for use in walk.uses] == [tool.name for tool in TOOLS]
    assert msgspec.json.decode(walk.uses[1].arguments) == {"file_path": "ReadMe.rst"}
    assert all(text.startswith(LABEL) for text in walk.texts)
    for seen in (
        "5 tool calls",
        "4 entries",
        "`setup.py`",
        "`ReadMe.rst` has 4 lines; it begins: The Great Project",
        "2 lines with TODO; the first: src/a.py:3: # TODO: mend this",
        "`tests/test_a.py`",
        f"`{NOTE}` was written",
    ):
        assert seen in end
    note = msgspec.json.decode(walk.uses[-1].arguments, type=dict[str, str])
    assert note["file_path"] == NOTE
    assert note["contents"].startswith(f"# {LABEL}")
    assert "The Great Project" in note["contents"]
    assert "Look around" in note["contents"]


def test_the_tags_that_sessions_put_around_results_are_not_what_it_saw() -> None:
    frame = frame_of("7")
    framed = Walk({name: frame.around(str(text), "user") for name, text in WORKSPACE.items()})
    assert framed.run() == Walk(WORKSPACE).run()


def test_the_tour_is_deterministic() -> None:
    first, second = Walk(WORKSPACE), Walk(WORKSPACE)
    assert first.run() == second.run()
    assert first.uses == second.uses


def test_without_a_readme_there_are_still_five_calls() -> None:
    walk = Walk(WORKSPACE | {"list_dir": "a.c\nreadme_later.c\n"})
    end = walk.run()
    assert [use.name for use in walk.uses] == [
        "list_dir",
        "find_files",
        "grep",
        "find_files",
        "create_file_with_contents",
    ]
    assert "2 entries" in end


def test_failures_and_refusals_are_told() -> None:
    walk = Walk(
        {
            "list_dir": RuntimeError("not allowed here"),
            "grep": RuntimeError("grep is missing"),
            "create_file_with_contents": RuntimeError("The user refused."),
        }
    )
    end = walk.run()
    for told in (
        "`list_dir` failed: not allowed here",
        "`grep` failed: grep is missing",
        "No file that matches `*test*` was shown",
        f"`{NOTE}` was not written: The user refused.",
    ):
        assert told in end


def test_only_tools_on_offer_are_asked_for() -> None:
    walk = Walk(WORKSPACE)
    walk.run((ToolSpec("list_dir", "", {}), ToolSpec("grep", "", {})))
    assert [use.name for use in walk.uses] == ["list_dir", "grep"]


def test_a_second_question_starts_a_second_walk_with_ids_of_its_own() -> None:
    walk = Walk(WORKSPACE)
    walk.messages.append(Message("assistant", (Text(walk.run()),)))
    walk.messages.append(Message("user", (Text("Again"),)))
    walk.run()
    assert len(walk.uses) == 10
    assert len({use.id for use in walk.uses}) == 10


def test_without_tools_it_says_what_it_is() -> None:
    said = next_turn(Chat((Message("user", (Text("Hello"),)),)))
    assert said.tool_use is None
    assert said.text.startswith(LABEL)
    assert "ANTHROPIC_API_KEY" in said.text


def test_hostile_results_stay_short() -> None:
    walk = Walk(WORKSPACE | {"list_dir": "x" * 100_000, "grep": "TODO " * 100_000})
    assert len(walk.run()) < 5_000


async def test_the_stream_carries_pieces_tools_and_an_estimate() -> None:
    provider = ScriptedProvider(HandClock())
    call = ModelCall("tour", Chat((Message("user", (Text("x" * 400),)),), TOOLS), 100)
    answer = await collect(provider.stream(call, DEADLINE))
    assert answer.text == f"{LABEL} First I list the workspace."
    assert answer.finish == "tool_use"
    assert answer.tool_uses[0].name == "list_dir"
    assert answer.usage is not None
    assert answer.usage.input_tokens == 100
    assert answer.usage.output_tokens == (len(answer.text) + len('{"directory":"."}')) // 4


SCRIPT = b"""
turns:
  - text: I look.
    tools: [{name: read_file, arguments: {file_path: a.txt}}, {name: grep}]
    delay_ms: 250
  - text: Done.
"""


async def test_a_script_is_played_by_turns() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    provider = ScriptedProvider(HandClock(), parse_script(SCRIPT), sleep)
    said: list[Message] = [Message("user", (Text("Go"),))]
    texts: list[str] = []
    for _ in range(3):
        answer = await collect(provider.stream(ModelCall("", Chat(tuple(said)), 9), DEADLINE))
        texts.append(answer.text)
        said.append(Message("assistant", (Text(answer.text), *answer.tool_uses)))
    assert texts == [f"{LABEL} I look.", f"{LABEL} Done.", f"{LABEL} The script is over."]
    first = said[1].parts[1:]
    assert first == (
        ToolUse("script_1_1", "read_file", '{"file_path":"a.txt"}'),
        ToolUse("script_1_2", "grep", "{}"),
    )
    assert slept == [0.25]


async def test_a_delay_does_not_outlast_the_deadline() -> None:
    async def sleep(seconds: float) -> None:
        assert seconds <= 0.11

    clock = HandClock()
    provider = ScriptedProvider(clock, parse_script(SCRIPT), sleep)
    call = ModelCall("", Chat((Message("user", (Text("Go"),)),)), 9)
    with pytest.raises(UpstreamTimeout):
        await collect(provider.stream(call, Deadline(clock.now_s() + 0.1)))


@pytest.mark.parametrize(
    ("script", "named"),
    [
        (b"turns: []", r"\$\.turns"),
        (b"turns: [{}]", r"turns\[0\]"),
        (b"turns: [{text: a, colour: b}]", "colour"),
        (b"turns: [{text: a, delay_ms: -1}]", "delay_ms"),
        (b"turns: [{tools: [{name: 'a b'}]}]", "name"),
        (
            b"turns: [{tools: [{name: a, arguments: {x: {~: 1}}}]}]",
            r"turns\[0\]",
        ),
        (b"turns: {", "not YAML"),
        (b"\xff\xfe\x00", "script"),
        (b"[" * 100_000, "not YAML"),
        (b"x" * 5_000_000, "larger"),
    ],
)
def test_a_wrong_script_names_its_field(script: bytes, named: str) -> None:
    with pytest.raises(ScriptError, match=named):
        parse_script(script)


async def test_what_it_does_not_do() -> None:
    provider = ScriptedProvider(HandClock())
    assert not provider.forwards("/v1/messages")
    with pytest.raises(Rejected):
        provider.forward(RawCall("/", (), b"", "", streaming=False), DEADLINE)
    with pytest.raises(Rejected):
        await provider.embed(EmbedCall("m", ("a",)), DEADLINE)
    with pytest.raises(Rejected):
        await collect(provider.stream(ModelCall("", Infill("a", "b"), 9), DEADLINE))


def test_a_script_that_is_not_there_fails_at_start(tmp_path: Path) -> None:
    settings = ProvidersSettings.model_validate({"scripted": {"script": str(tmp_path / "no.yml")}})
    with pytest.raises(ValueError, match=r"providers\.scripted\.script"):
        scripted.build(settings, HttpClient(LIMITS, HandClock()), HandClock(), LIMITS)
