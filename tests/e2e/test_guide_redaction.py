"""The examples of docs/guide/redaction.md, as a person would follow them."""

from pathlib import Path

import msgspec
import pytest

from isthmus.core.errors import Withheld
from isthmus.core.messages import Destination
from isthmus.redaction.guard import SecretGuard, open_guard
from isthmus.settings import Settings
from tests.support.guide import blocks
from tests.support.process import running_server
from tests.support.sink import MemorySink

WAIT_S = 60.0
KEY = "sk_live_" + "A1b2C3d4E5f6G7h8"


def block(title: str, kind: str) -> str:
    """The first block of this kind in the section."""
    return blocks("redaction", kind, title)[0]


def guard(title: str) -> SecretGuard:
    settings = Settings.model_validate(msgspec.yaml.decode(block(title, "yaml")))
    made = open_guard(settings.redaction, MemorySink())
    assert made is not None
    return made


def test_what_the_page_says_is_printed(tmp_path: Path) -> None:
    title = "One complete example"
    (tmp_path / "isthmus.yml").write_text(block(title, "yaml"), encoding="utf-8")
    own = {"ISTHMUS_CONFIG": str(tmp_path / "isthmus.yml")}
    with running_server(tmp_path, own) as server:
        done = server.script(block(title, "sh"), WAIT_S)
        assert (done.stdout, done.stderr) == (block(title, "text"), "")
        assert KEY not in server.log + server.out


def test_overrides_are_as_the_page_says() -> None:
    made = guard("By feature and destination")
    assert made.texts((KEY,), Destination("duo_chat", "local", "local")) == (KEY,)
    assert made.texts((KEY,), Destination("duo_chat", "anthropic", "a")) == ("[REDACTED]",)
    with pytest.raises(Withheld):
        made.texts((KEY,), Destination("review_merge_request", "anthropic", "a"))


def test_rules_of_ones_own_are_as_the_page_says() -> None:
    said = block("Exceptions, and rules of your own", "yaml")
    tree = msgspec.yaml.decode(said, type=dict[str, dict[str, object]])
    tree["redaction"]["prompt"] = "redact"
    settings = Settings.model_validate(tree)
    made = open_guard(settings.redaction, MemorySink())
    assert made is not None
    text = f"acme-{'0a' * 16} and X-Acme-Session: a1B2c3D4e5F6g7H8i9J0k, acme-x"
    clean = "[REDACTED] and X-Acme-Session: [REDACTED], acme-x"
    assert made.texts((text,), Destination("f", "p", "d")) == (clean,)
