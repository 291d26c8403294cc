"""A prompt's messages as one model takes them."""

import pytest
from msgspec.structs import replace

from isthmus.core.messages import Message, ModelChoice, Role, Text
from isthmus.prompts.shape import shaped

PLAIN = ModelChoice("m", "p", "e", "u")


def turns(*said: str) -> tuple[Message, ...]:
    roles: dict[str, Role] = {"s": "system", "u": "user", "a": "assistant"}
    return tuple(Message(roles[text[0]], (Text(text),)) for text in said)


@pytest.mark.parametrize(
    ("choice", "given", "sent"),
    [
        (PLAIN, turns("s1", "u1", "s2"), turns("s1", "s2", "u1")),
        (PLAIN, turns("u1", "a1"), turns("u1")),
        (PLAIN, turns("u1", "a1", "u2", "a2", "a3"), turns("u1", "a1", "u2")),
        (PLAIN, turns("a1"), turns("a1")),
        (replace(PLAIN, prefill=True), turns("s1", "u1", "a1"), turns("s1", "u1", "a1")),
        (replace(PLAIN, single_system=True), turns("s1", "u1", "s2"), turns("s1\n\ns2", "u1")),
        (replace(PLAIN, single_system=True), turns("s1", "u1"), turns("s1", "u1")),
        (PLAIN, (), ()),
    ],
)
def test_messages_take_the_shape_that_a_model_wants(
    choice: ModelChoice, given: tuple[Message, ...], sent: tuple[Message, ...]
) -> None:
    assert shaped(given, choice) == sent
