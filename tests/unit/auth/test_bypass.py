"""Every switch that weakens authentication is named, and none that is at its default."""

import pytest

from isthmus.auth.bypass import MEANING, bypasses
from isthmus.settings import AuthSettings


def test_nothing_is_named_by_default() -> None:
    assert bypasses(AuthSettings()) == ()


@pytest.mark.parametrize("name", MEANING)
def test_each_switch_is_named_by_itself(name: str) -> None:
    field = name.removeprefix("auth.")
    default = AuthSettings.model_fields[field].default
    assert bypasses(AuthSettings.model_validate({field: not default})) == (name,)


def test_no_switch_of_this_kind_is_forgotten() -> None:
    named = {name for name in AuthSettings.model_fields if name.startswith("bypass")}
    assert {f"auth.{name}" for name in named | {"enabled"}} == set(MEANING)
