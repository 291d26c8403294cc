"""The status table of the gRPC edge."""

import pytest
from grpc import StatusCode

from isthmus.core import errors
from isthmus.core.errors import Failure
from isthmus.edge.grpc.errors import CODE, DETAILS_LIMIT, one_line, status_of, status_of_bug
from isthmus.edge.grpc.interceptors import correlation_id


def every(kind: type[Failure]) -> list[type[Failure]]:
    return [one for sub in kind.__subclasses__() for one in (sub, *every(sub))]


@pytest.mark.parametrize("kind", every(Failure))
def test_every_failure_has_a_status(kind: type[Failure]) -> None:
    if kind.__module__ == errors.__name__:
        assert kind in CODE
        assert CODE[kind] is not StatusCode.OK


@pytest.mark.parametrize(
    ("failure", "code", "details"),
    [
        (errors.Unauthenticated("no"), StatusCode.UNAUTHENTICATED, "no"),
        (errors.Forbidden("no"), StatusCode.PERMISSION_DENIED, "no"),
        (errors.LimitExceeded("slow", 1.0), StatusCode.RESOURCE_EXHAUSTED, "slow"),
        (errors.Unavailable("full"), StatusCode.UNAVAILABLE, "full"),
        (errors.ClientGone("x"), StatusCode.CANCELLED, "RPC cancelled by client"),
        (
            errors.UpstreamLimited("busy"),
            StatusCode.INTERNAL,
            "workflow execution failure: UpstreamLimited: busy",
        ),
    ],
)
def test_texts_follow_the_contract(failure: Failure, code: StatusCode, details: str) -> None:
    assert status_of(failure) == (code, details)


def test_a_bug_tells_its_type_alone() -> None:
    code, details = status_of_bug(RuntimeError("secret"))
    assert (code, details) == (StatusCode.INTERNAL, "Something went wrong: RuntimeError")


def test_details_are_one_short_line() -> None:
    text = one_line("a\r\nb\x00" + "é" * 5000)
    assert text.startswith("a  b éé")
    assert len(text) == DETAILS_LIMIT


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({"x-request-id": "r-1", "x-gitlab-correlation-id": "c-1"}, "r-1"),
        ({"x-gitlab-correlation-id": "c-1"}, "c-1"),
        ({"x-request-id": "", "x-gitlab-correlation-id": "c-1"}, "c-1"),
        ({"x-request-id": "a\nb"}, None),
        ({"x-request-id": "x" * 129}, None),
        ({}, None),
    ],
)
def test_the_correlation_id_is_the_callers_when_it_is_safe(
    headers: dict[str, str], wanted: str | None
) -> None:
    found = correlation_id(headers)
    assert found == wanted or (wanted is None and len(found) == 36)


def test_a_limit_is_told_by_its_name() -> None:
    refusal = errors.LimitExceeded("The limit 'team-tokens' was reached.", 3.0, "team-tokens")
    code, details = status_of(refusal)
    assert code is StatusCode.RESOURCE_EXHAUSTED
    assert "team-tokens" in details


@pytest.mark.parametrize(
    ("refusal", "wanted"),
    [
        (errors.InsufficientCredits, StatusCode.RESOURCE_EXHAUSTED),
        (errors.NotEntitled, StatusCode.PERMISSION_DENIED),
    ],
)
def test_a12_25_credits_keep_their_code_in_the_status_text(
    refusal: type[Failure], wanted: StatusCode
) -> None:
    code, details = status_of(refusal("No. Error code: USAGE_QUOTA_X"))
    assert (code, details) == (wanted, "No. Error code: USAGE_QUOTA_X")
