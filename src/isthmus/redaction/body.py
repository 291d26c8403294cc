"""Secrets in the strings of a JSON text: only strings that hold one change, all else is kept."""

import json
import re

from isthmus.redaction.rules import Mark, Rules, decoded, encoded, replaced

SHORTEST_BYTES = 6
_STRING = re.compile(rb'"((?:[^"\\]++|\\(?:.|\Z))*+)(?:"(\s*+:)?|\Z)', re.DOTALL)
"""A string, and whether it is a member's name. It always matches, so that time is linear."""
_SEALED = frozenset(
    (b"data", b"signature", b"encrypted_content", b"thoughtSignature", b"thought_signature")
)
_BASE64 = re.compile(rb"[A-Za-z0-9+/_=-]{128,}+")
"""Pictures, signatures, encrypted thoughts: one changed letter breaks them."""


def strings_redacted(rules: Rules, text: bytes, mark: Mark) -> bytes:
    """The JSON text with marks in the places of secrets; the same object when it holds none.

    Nothing is parsed unless a rule fits the text as it stands, or escapes could hide a secret.
    """
    if not rules.maybe_quoted(text):
        return text
    pieces: list[bytes] = []
    at, name = 0, b""
    for string in _STRING.finditer(text):
        raw: bytes = string[1]
        if string[2] is not None:
            name = raw
            continue
        if len(raw) < SHORTEST_BYTES or (name in _SEALED and _BASE64.fullmatch(raw)):
            continue
        changed = _changed(rules, raw, mark)
        if changed is not None:
            pieces += (text[at : string.start(1)], changed)
            at = string.end(1)
    if not pieces:
        return text
    pieces.append(text[at:])
    return b"".join(pieces)


def _changed(rules: Rules, raw: bytes, mark: Mark) -> bytes | None:
    """What stands between a string's quotes, without secrets; None when it has none."""
    plain = raw
    if b"\\" in raw:
        try:
            said: object = json.loads(b'"' + raw + b'"', strict=False)
        except ValueError:
            said = None
        if isinstance(said, str):
            plain = encoded(said)
    found = rules.found(plain)
    if not found:
        return None
    new = replaced(plain, found, mark)
    if plain is raw:
        return new
    return json.dumps(decoded(new))[1:-1].encode()
