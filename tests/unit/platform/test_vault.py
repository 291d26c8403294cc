"""A session's secrets have marks, and come back for its own executor alone."""

import json

import pytest

from isthmus.core.errors import ToolRefused
from isthmus.core.policies import Marks
from isthmus.platform.vault import MOST_CHARS, MOST_SECRETS, Vault, Vaults, plain
from isthmus.redaction.rules import MARK, shipped
from tests.support.secrets import generated

KEY = "sk_live_" + "A1b2C3d4E5f6G7h8"
SALT, OTHER = b"s" * 32, b"t" * 32


def test_marks_are_stable_in_a_session_and_differ_between_sessions() -> None:
    vault: Marks = Vault(shipped(), SALT)
    mark = vault.mark("stripe-key", KEY)
    assert mark.startswith("[REDACTED:stripe-key:")
    assert len(mark) == len("[REDACTED:stripe-key:3f2a]")
    assert vault.mark("stripe-key", KEY) == mark == Vault(shipped(), SALT).mark("stripe-key", KEY)
    assert Vault(shipped(), OTHER).mark("stripe-key", KEY) != mark
    assert plain(f"a {mark} b") == f"a {MARK} b"


def test_what_is_hidden_comes_back_in_json() -> None:
    vault = Vault(shipped(), SALT)
    for one in generated(130):
        text = f'see "{one.text}"; there\n'
        hidden = vault.hide(text)
        assert one.secret not in hidden
        assert vault.hide(hidden) is hidden
        arguments = json.dumps({"new_str": hidden, "n": 1})
        assert vault.quoted(arguments)
        assert json.loads(vault.restored(arguments)) == {"new_str": text, "n": 1}
    assert vault.hide("nothing") == "nothing"
    assert not vault.quoted('{"a": "[REDACTED] [REDACTED:x]"}')


def test_an_unknown_mark_is_refused() -> None:
    mark = Vault(shipped(), SALT).mark("stripe-key", KEY)
    with pytest.raises(ToolRefused, match="no longer known"):
        Vault(shipped(), SALT).restored(json.dumps({"a": mark}))


def test_marks_that_would_be_alike_grow() -> None:
    vault = Vault(shipped(), SALT)
    marks = {vault.mark("x", f"secret-{number}"): number for number in range(MOST_SECRETS)}
    assert len(marks) == MOST_SECRETS
    for mark, number in marks.items():
        assert vault.restored(mark) == f"secret-{number}"


def test_a_vault_is_bounded() -> None:
    vault = Vault(shipped(), SALT)
    assert vault.mark("x", "a" * (MOST_CHARS + 1)) == MARK
    for number in range(MOST_SECRETS):
        vault.mark("x", f"{number}")
    assert vault.mark("x", "one more") == MARK
    assert vault.mark("x", "7") != MARK


def test_the_vaults_of_the_last_sessions_are_kept() -> None:
    salts = iter([SALT, OTHER, SALT, OTHER])
    vaults = Vaults(shipped(), lambda: next(salts), most=2)
    first, second = vaults.of("1"), vaults.of("2")
    assert vaults.of("1") is first
    vaults.of("3")
    assert vaults.of("1") is first
    assert vaults.of("2") is not second
