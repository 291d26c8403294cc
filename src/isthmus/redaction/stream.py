"""A text that comes in pieces: a secret is found wherever it is cut, and the rest goes on at once.

Held back is only what may still become a secret, by the rules' own shapes. Bytes in, bytes out.
"""

from isthmus.redaction.rules import Found, Mark, Rules, Shape, replaced

CONTEXT_BYTES = 96
"""Kept of what went on already: a secret is known by what stands before it."""
CARRY_BYTES = 128
"""Kept of a secret too long to be held: longer than any mark of its end."""


class Window:
    """Holds back `limit_bytes` at most: a longer secret is marked, and dropped to its end."""

    __slots__ = ("_carry", "_held", "_inside", "_limit", "_mark", "_rules", "_seen")

    def __init__(self, rules: Rules, limit_bytes: int, mark: Mark) -> None:
        self._rules = rules
        self._limit = limit_bytes
        self._mark = mark
        self._seen = self._held = self._carry = b""
        self._inside: Shape | None = None

    @property
    def waiting(self) -> bool:
        """Whether anything is held back."""
        return bool(self._held)

    def feed(self, chunk: bytes) -> bytes:
        """What may go on now; the same object when all of it may, and nothing was held back."""
        data = chunk
        if self._inside is not None:
            data = self._outlast(self._inside, data)
            if not data:
                return b""
        held, seen = self._held, self._seen
        text, done = seen + held + data, len(seen)
        watched = self._rules.watch(text, done)
        if watched is None:
            self._seen, self._held = _context(text), b""
            return held + data if held else data
        found, hold = watched
        passed = self._pass(text, found, done, hold)
        if len(text) - hold > self._limit:
            passed += self._overflow(text, found, hold)
        elif hold == len(text) and not held and passed == data:
            return data
        return passed

    def whole(self, text: bytes) -> bytes:
        """What may go on of a text that is all there is; the same object when all of it may."""
        found = self._rules.found(text)
        return replaced(text, found, self._mark) if found else text

    def finish(self) -> bytes:
        """What was held back; nothing comes behind it."""
        text, done = self._seen + self._held, len(self._seen)
        self._carry, self._inside = b"", None
        return self._pass(text, self._rules.found(text), done, len(text)) if self._held else b""

    def _pass(self, text: bytes, found: list[Found], done: int, hold: int) -> bytes:
        whole = text[:hold]
        self._seen, self._held = _context(whole), text[hold:]
        now = [one for one in found if done <= one.start and one.end <= hold]
        return replaced(whole, now, self._mark)[done:]

    def _overflow(self, text: bytes, found: list[Found], hold: int) -> bytes:
        """Too much to hold: a secret already, so that its end is waited for, or none."""
        self._seen = self._held = b""
        late = [one for one in found if one.start >= hold]
        new = replaced(text, late, self._mark)
        if new != text and late[-1].end == len(text):
            self._inside, self._carry = late[-1].shape, text[late[-1].start :][-CARRY_BYTES:]
        return new[hold:]

    def _outlast(self, inside: Shape, data: bytes) -> bytes:
        """What follows the secret that is dropped."""
        text = self._carry + data
        if inside.inside(text):
            self._carry = text[-CARRY_BYTES:]
            return b""
        self._carry, self._inside = b"", None
        return text[inside.rest(text) :]


def _context(text: bytes) -> bytes:
    """What is kept of it. A digit stands before what is cut, so that no word begins there."""
    return text if len(text) <= CONTEXT_BYTES else b"0" + text[-CONTEXT_BYTES:]
