"""What a model reads without what is ours around it."""

from isthmus.platform.trust import frame_of

FRAME = frame_of("7")
"""Of the session that most tests run."""
_RULES = FRAME.ruled(())[0].parts[0]


def bare(text: str) -> str:
    """The text without the rules of session 7, and without the frame of a user's result."""
    rules = getattr(_RULES, "text", "")
    first, last = FRAME.around("\n", "user").split("\n\n\n")
    text = text.removeprefix(rules).removeprefix("\n")
    return text.replace(f"{first}\n", "").replace(f"\n{last}", "")
