"""Leaves out what a model says to itself: `<think>` passages of a streamed text. Pure."""

_OPEN = "<think>"
_CLOSE = "</think>"


class Reasoning:
    """Takes a text in any pieces; gives what stands outside of the passages.

    A passage that never ends hides the rest. Blank space before the first visible character is
    left out when a passage stood there. Keeps a few characters at most.
    """

    def __init__(self) -> None:
        self._held = ""
        self._hidden = False
        self._trimming = False
        self._seen = False

    def feed(self, text: str) -> str:
        """What can be shown now."""
        shown: list[str] = []
        text = self._held + text
        self._held = ""
        while text:
            tag = _CLOSE if self._hidden else _OPEN
            before, found, after = text.partition(tag)
            if not found:
                kept = _overlap(before, tag)
                self._held = before[len(before) - kept :]
                before = before[: len(before) - kept]
            if not self._hidden:
                shown.append(self._visible(before))
            if found:
                self._hidden = not self._hidden
                self._trimming = not self._seen
            text = after
        return "".join(shown)

    def finish(self) -> str:
        """What was held back in case it began a tag."""
        held, self._held = self._held, ""
        return "" if self._hidden else self._visible(held)

    def _visible(self, text: str) -> str:
        if self._trimming:
            text = text.lstrip()
        if text.strip():
            self._seen, self._trimming = True, False
        return text


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of the text may begin the tag."""
    most = min(len(text), len(tag) - 1)
    return next((size for size in range(most, 0, -1) if tag.startswith(text[-size:])), 0)
