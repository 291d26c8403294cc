"""A prompt's messages as one model takes them."""

from collections.abc import Sequence

from isthmus.core.messages import Message, ModelChoice, Text


def shaped(messages: Sequence[Message], choice: ModelChoice) -> tuple[Message, ...]:
    """System messages first, joined into one where the model takes only one.

    The beginning of an answer, at the end, is left out for models that do not go on from it.
    """
    systems = [message for message in messages if message.role == "system"]
    others = [message for message in messages if message.role != "system"]
    if choice.single_system and len(systems) > 1:
        texts = (p.text for message in systems for p in message.parts if isinstance(p, Text))
        systems = [Message("system", (Text("\n\n".join(texts)),))]
    if not choice.prefill:
        while len(others) > 1 and others[-1].role == "assistant":
            others.pop()
    return (*systems, *others)
