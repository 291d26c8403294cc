"""Which flags of a request count, and whose payloads may be logged."""

import pytest

from isthmus.core.identity import ClientInfo
from isthmus.gateway.flags import effective
from isthmus.gateway.payloads import MASK, PayloadPolicy, seen

BARRED = {"saas": ("c", "expanded_ai_logging")}


def client(flags: str | None, realm: str = "", **headers: str) -> ClientInfo:
    said = {"x-gitlab-realm": realm} | {
        name.replace("_", "-"): one for name, one in headers.items()
    }
    return ClientInfo(said if flags is None else said | {"x-gitlab-enabled-feature-flags": flags})


@pytest.mark.parametrize(
    ("flags", "realm", "expected"),
    [
        (None, "saas", ()),
        ("", "saas", ("",)),
        ("a,b,c,a", "saas", ("a", "b")),
        ("a,b,c", "self-managed", ("a", "b", "c")),
        ("a, c", "saas", ("a", " c")),
    ],
)
def test_h11_72_flags_barred_for_the_realm_are_dropped(
    flags: str | None, realm: str, expected: tuple[str, ...]
) -> None:
    assert effective(client(flags, realm), BARRED) == expected


@pytest.mark.parametrize(
    ("policy", "said", "allowed"),
    [
        (PayloadPolicy(), client(None), False),
        (PayloadPolicy(always=True), client(None), True),
        (PayloadPolicy(), client("expanded_ai_logging"), True),
        (PayloadPolicy(barred=BARRED), client("expanded_ai_logging", "saas"), False),
        (PayloadPolicy(custom_models=True), client("expanded_ai_logging"), False),
        (
            PayloadPolicy(custom_models=True),
            client(None, x_gitlab_enabled_instance_verbose_ai_logs="true"),
            True,
        ),
        (
            PayloadPolicy(custom_models=True),
            client(None, x_gitlab_enabled_instance_verbose_ai_logs="True"),
            False,
        ),
        (PayloadPolicy(), client(None, x_gitlab_enabled_instance_verbose_ai_logs="true"), False),
    ],
)
def test_whose_payloads_may_be_logged(
    policy: PayloadPolicy, said: ClientInfo, allowed: bool
) -> None:
    assert policy.allows(said) is allowed


def test_keys_are_masked_wherever_they_stand() -> None:
    deep: dict[str, object] = {}
    for _ in range(50):
        deep = {"more": deep}
    fact = seen(
        "Asked.",
        prefix="a = ",
        model_metadata={"api_key": "s3cret", "name": "m"},
        items=[{"api_key": "s3cret"}, {"api_key": None}],
        deep=deep,
    )
    assert fact.event == "Asked."
    assert dict(fact.payload)["model_metadata"] == {"api_key": MASK, "name": "m"}
    assert dict(fact.payload)["items"] == [{"api_key": MASK}, {"api_key": None}]
    assert "s3cret" not in repr(fact)
    assert len(repr(fact)) < 500
