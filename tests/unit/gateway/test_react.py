"""The reader of a model's steps, and the filter of what it says to itself: however they are cut."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.core.messages import Finish
from isthmus.gateway.react import (
    HELD_CHARS,
    WARNING,
    AnswerDelta,
    Event,
    Reader,
    ToolAction,
    Unknown,
)
from isthmus.gateway.reasoning import Reasoning

ANSWER = "Thought: I know it.\nFinal Answer: It is **bug**.\n\nReally."
ACTION = "Thought: I must look.\nAction: issue\\_reader\nAction Input: issue #12\nits label\n"


def read(*pieces: str, finish: Finish | None = "stop") -> list[Event]:
    """The events, with the deltas of the answer put together."""
    reader = Reader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    joined: list[Event] = []
    for event in [*events, *reader.finish(finish)]:
        last = joined[-1] if joined else None
        if isinstance(event, AnswerDelta) and isinstance(last, AnswerDelta):
            joined[-1] = AnswerDelta(last.text + event.text, event.finish_reason)
        else:
            joined.append(event)
    return joined


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ANSWER, AnswerDelta("It is **bug**.\n\nReally.", "stop")),
        ("Final Answer:yes", AnswerDelta("yes", "stop")),
        ("  Final Answer:\n\n yes\n", AnswerDelta("yes\n", "stop")),
        ("Thought: so. Final Answer: yes", AnswerDelta("yes", "stop")),
        ("Final Answer: a\nFinal Answer: b", AnswerDelta("a\nFinal Answer: b", "stop")),
        ("", AnswerDelta("", "stop")),
        (" \n", AnswerDelta("", "stop")),
        (ACTION, ToolAction("issue_reader", "issue #12\nits label", "I must look.")),
        (
            "look\nAction: a\nAction Input: Final Answer: what is it?",
            ToolAction("a", "Final Answer: what is it?", "look"),
        ),
        (
            ACTION + "Observation: made up\nFinal Answer: made up too",
            ToolAction("issue_reader", "issue #12\nits label", "I must look."),
        ),
        (
            "Action: a\nAction Input: b\nThought: c\nAction: d\nAction Input: e",
            ToolAction("a", "b", ""),
        ),
        ("Action: a\nFinal Answer: b", AnswerDelta("b", "stop")),
        ("mock", Unknown("mock")),
        ("Action: a", Unknown("Action: a")),
        ("Action:\nAction Input: b", Unknown("Action:\nAction Input: b")),
        ("Hm\nObservation: x", Unknown("Hm")),
    ],
)
def test_what_a_text_means(text: str, expected: Event) -> None:
    assert read(text) == [expected]
    assert read(*text) == [expected]


@pytest.mark.parametrize(
    ("text", "finish", "expected"),
    [
        ("Final Answer: I ca", "length", AnswerDelta("I ca", "length")),
        ("Final Answer: I ca", None, AnswerDelta("I ca", "stop")),
        (
            "Final Answer: I ca",
            "refused",
            AnswerDelta(f"I ca\n\n{WARNING}", "guardrail_intervened"),
        ),
        ("Thought: I", "refused", AnswerDelta(WARNING, "guardrail_intervened")),
        ("", "refused", AnswerDelta(WARNING, "guardrail_intervened")),
    ],
)
def test_the_last_delta_says_why_the_answer_ended(
    text: str, finish: Finish | None, expected: Event
) -> None:
    assert read(text, finish=finish) == [expected]


def test_the_answer_comes_as_it_is_written() -> None:
    reader = Reader()
    assert reader.feed("Thought: x\nFinal An") == []
    assert reader.feed("swer: It") == [AnswerDelta("It")]
    assert reader.feed(" is") == [AnswerDelta(" is")]
    assert reader.finish("stop") == [AnswerDelta("", "stop")]


def test_a_model_that_never_comes_to_the_point_is_not_held_without_end() -> None:
    endless = "x" * HELD_CHARS
    assert read(endless, "\nFinal Answer: y") == [Unknown(endless)]
    assert read(endless + "\nFinal Answer: y") == [Unknown(endless)]
    began_s = time.process_time()
    for text in (" ", "\nA", "\nAction:", "<", "Final Answer"):
        read(*(text * HELD_CHARS)[: 2 * HELD_CHARS])
    assert time.process_time() - began_s < 5


WORDS = st.sampled_from(
    [
        *("Thought:", "Action:", "Action Input:", "Observation:", "Final Answer:", "\n", "\n\n"),
        *(" ", "\t", "a", "Final ", "issue\\_reader", "é", "Action"),
    ]
)


@given(
    st.lists(WORDS, max_size=25).map("".join),
    st.lists(st.integers(0, 200), max_size=12),
    st.sampled_from(["stop", "length", "refused"]),
)
def test_every_cut_of_a_text_gives_the_same_events(
    text: str, cuts: list[int], finish: Finish
) -> None:
    assert read(*cut(text, cuts), finish=finish) == read(text, finish=finish)


def cut(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(place for place in cuts if place <= len(text))})
    return [text[a:b] for a, b in pairwise(places)]


def shown(*pieces: str) -> str:
    reasoning = Reasoning()
    return "".join([*(reasoning.feed(piece) for piece in pieces), reasoning.finish()])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>Hm.</think>\n\nYes.\n", "Yes.\n"),
        ("Yes.", "Yes."),
        (" Yes", " Yes"),
        ("a <think>b</think> c", "a  c"),
        ("<think>a<think>b</think>c</think>", "c</think>"),
        ("a<think>b", "a"),
        ("a<thin", "a<thin"),
        ("<<think>x</think>y", "<y"),
        ("<think></think><think>z</think> b", "b"),
        ("1 < 2", "1 < 2"),
    ],
)
def test_what_a_model_says_to_itself_is_left_out(text: str, expected: str) -> None:
    assert shown(text) == expected
    assert shown(*text) == expected


THOUGHTS = st.lists(st.sampled_from(["<think>", "</think>", "<", "think>", " ", "\n", "a", "/"]))


@given(THOUGHTS.map("".join), st.lists(st.integers(0, 100), max_size=12))
def test_every_cut_of_a_text_shows_the_same(text: str, cuts: list[int]) -> None:
    assert shown(*cut(text, cuts)) == shown(text)
