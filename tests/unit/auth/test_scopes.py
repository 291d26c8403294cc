"""Permissions: debug first, then the issuer, then the scopes."""

import pytest

from isthmus.auth.scopes import (
    PLATFORM_PRIMITIVES,
    UNIT_PRIMITIVES,
    allowed,
    require,
    session_scopes,
)
from isthmus.core.errors import Forbidden
from isthmus.core.identity import Caller

HOLDER = Caller("i", scopes=frozenset({"complete_code", "made_up"}))
OWN = Caller("u", scopes=frozenset({"complete_code"}), self_issued=True)
DEBUG = Caller("debug", debug=True)


@pytest.mark.parametrize(
    ("caller", "any_of", "self_issued", "expected"),
    [
        (HOLDER, ("complete_code",), False, True),
        (HOLDER, ("generate_code", "complete_code"), True, True),
        (HOLDER, ("generate_code",), True, False),
        (HOLDER, (), True, False),
        (HOLDER, ("made_up",), True, False),
        (OWN, ("complete_code",), True, True),
        (OWN, ("complete_code",), False, False),
        (DEBUG, ("generate_code",), False, True),
        (DEBUG, (), False, True),
    ],
)
def test_who_is_allowed(
    caller: Caller, any_of: tuple[str, ...], self_issued: bool, expected: bool
) -> None:
    assert allowed(caller, any_of, self_issued=self_issued) is expected


def test_a_refusal_says_what_the_use_case_says() -> None:
    require(HOLDER, ("complete_code",), "No.")
    with pytest.raises(Forbidden) as caught:
        require(HOLDER, ("duo_chat",), "No.")
    assert caught.value.detail == "No."


def test_scopes_of_sessions() -> None:
    assert session_scopes("chat") == ("duo_chat",)
    for definition in ("", "developer/v1", "chat/v1"):
        assert session_scopes(definition) == ("duo_agent_platform", "duo_workflow_execute_workflow")


def test_the_known_names() -> None:
    assert len(UNIT_PRIMITIVES) == 61
    assert {
        "duo_chat",
        "duo_agent_platform",
        "duo_workflow_execute_workflow",
    } <= PLATFORM_PRIMITIVES
    assert PLATFORM_PRIMITIVES < UNIT_PRIMITIVES
