"""Takes secrets out of what actions show."""

from collections.abc import Iterable

from isthmus.redaction.rules import redact

NOTE = "\n\n(Secrets in this output were masked.)"
MARK = "[MASKED]"
SHORTEST = 8


class Mask:
    """Masks what looks like a secret, and the values that this run itself was given."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        values = {value.strip() for value in known}
        self._known = sorted((v for v in values if len(v) >= SHORTEST), key=len, reverse=True)

    def plain(self, text: str) -> str:
        """The text without secrets."""
        for value in self._known:
            text = text.replace(value, MARK)
        return redact(text)

    def __call__(self, text: str) -> str:
        """The same, and a note at the end when anything was masked."""
        masked = self.plain(text)
        return text if masked == text else masked + NOTE
