"""Secrets for tests: the examples of the rules, and others of the same shapes.

`python -m tests.support.secrets` makes `library/secrets.json` of `library/secrets.yml`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import msgspec

import isthmus
from isthmus.redaction.rules import shipped

LIBRARY = Path(isthmus.__file__).parent / "library"

_RUN = re.compile(r"[A-Za-z0-9]+")
_UPPER, _LOWER, _HEX = "ABCDEFGHJKLMNPQRSTUVWXYZ", "abcdefghjkmnpqrstuvwxyz", "abcdef"


@dataclass(frozen=True)
class Planted:
    """A secret in a text; `before` and `after` stay."""

    rule: str
    before: str
    secret: str
    after: str

    @property
    def text(self) -> str:
        return self.before + self.secret + self.after

    def marked(self, mark: str) -> str:
        """The text without its secret."""
        return self.before + mark + self.after


def examples() -> dict[str, dict[str, list[str]]]:
    """What the file of rules says by rule: `found` and `passed`."""
    data = (LIBRARY / "secrets.yml").read_bytes().partition(b"\n---\n")[2]
    return msgspec.yaml.decode(data.replace(b"~", b""), type=dict[str, dict[str, list[str]]])


def rules_as_json() -> bytes:
    """What `secrets.json` holds: the rules alone."""
    data = (LIBRARY / "secrets.yml").read_bytes().partition(b"\n---\n")[0]
    said: object = msgspec.to_builtins(msgspec.yaml.decode(data))
    return msgspec.json.format(msgspec.json.encode(said), indent=1) + b"\n"


def planted() -> list[Planted]:
    """Every example that is found."""
    return [one for rule, said in examples().items() for one in _read(rule, said["found"])]


def generated(count: int, seed: int = 5) -> Iterator[Planted]:
    """Secrets of every shape, in turn, with other letters than the examples'."""
    random, patterns = Random(seed), planted()  # noqa: S311 - secrets that nothing is kept by
    shapes = {shape.name: shape for shape in shipped().shapes}
    for place in range(count):
        like = patterns[place % len(patterns)]
        for _ in range(100):
            one = Planted(like.rule, like.before, _other(like, random), like.after)
            found = list(shapes[one.rule].search(one.text.encode()))
            if len(found) == 1 and found[0].end - found[0].start == len(one.secret):
                break
        else:
            raise AssertionError(f"no other secret is like {like.secret!r}")
        yield one


def _read(rule: str, found: list[str]) -> Iterator[Planted]:
    for text in found:
        before, opened, rest = text.partition("[[")
        secret, _, after = rest.partition("]]") if opened else (text, "", "")
        yield Planted(rule, before if opened else "", secret, after)


def _other(like: Planted, random: Random) -> str:
    """The same secret with every letter of its longest word changed for one of its kind."""
    secret = like.secret
    start, end = max(
        (word.span() for word in _RUN.finditer(secret)), key=lambda span: span[1] - span[0]
    )
    # What a kind of secret begins with stays.
    start += 9 if end - start >= 18 else 0 if like.before else 4
    lower = _HEX if re.fullmatch(r"[a-f0-9]+", secret[start:end]) else _LOWER
    kinds = ((str.isdigit, "234567"), (str.isupper, _UPPER), (str.islower, lower))
    changed = "".join(
        next((random.choice(letters) for is_kind, letters in kinds if is_kind(letter)), letter)
        for letter in secret[start:end]
    )
    return secret[:start] + changed + secret[end:]


if __name__ == "__main__":
    (LIBRARY / "secrets.json").write_bytes(rules_as_json())
