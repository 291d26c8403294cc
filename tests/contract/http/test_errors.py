"""Every failure of the tree has its place on the HTTP wire, and its body the contract's shape."""

import json
from collections.abc import Iterator

import pytest

from isthmus.core.errors import (
    CannotSign,
    Failure,
    FieldError,
    Forbidden,
    Interrupted,
    Invalid,
    LimitExceeded,
    NotEnabled,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from isthmus.edge.http.errors import STATUS, respond, status, trace


def kinds(root: type[Failure]) -> Iterator[type[Failure]]:
    for kind in root.__subclasses__():
        if kind.__module__ == "isthmus.core.errors":
            yield kind
            yield from kinds(kind)


@pytest.mark.parametrize("kind", list(dict.fromkeys(kinds(Failure))))
def test_every_failure_has_a_status(kind: type[Failure]) -> None:
    assert 400 <= STATUS[kind] <= 599


def test_a_failure_that_is_new_to_the_table_takes_its_parents_status() -> None:
    class Later(UpstreamLimited):
        pass

    class Other(Failure):
        pass

    assert status(Later("")) == 429
    assert status(Other("")) == 500


def body(failure: Failure, *, verbose: bool = False) -> tuple[int, object]:
    reply = respond(failure, verbose=verbose)
    return reply.status_code, json.loads(bytes(reply.body))


BUSY = {"detail": "Too many requests. Please try again later."}
FAILED = {"detail": "Inference failed"}


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (
            Unauthenticated("Forbidden by auth provider"),
            (401, {"error": "Forbidden by auth provider"}),
        ),
        (Forbidden("Unauthorized to access x"), (403, {"detail": "Unauthorized to access x"})),
        (Invalid("No.", (FieldError("a", "b"),)), (422, {"detail": "Validation error"})),
        (NotEnabled("Not here."), (402, {"detail": "Not here."})),
        (TooLarge("Too large.", 1), (413, {"detail": "Too large."})),
        (LimitExceeded("Enough.", 1), (429, {"detail": "Enough."})),
        (CannotSign("Failed to generate JWT"), (500, {"detail": "Failed to generate JWT"})),
        (UpstreamLimited("secret"), (429, BUSY)),
        (UpstreamFailed("secret", status=400, body=b"secret"), (503, FAILED)),
        (UpstreamUnreachable("secret"), (503, FAILED)),
        (UpstreamTimeout("secret", "total"), (503, FAILED)),
    ],
)
def test_bodies(failure: Failure, expected: tuple[int, object]) -> None:
    assert body(failure) == expected


@pytest.mark.parametrize(
    ("failure", "seconds"),
    [
        (LimitExceeded("", 0.2), "1"),
        (LimitExceeded("", -3.0), "0"),
        (UpstreamLimited("", retry_after_s=30.0), "30"),
        (UpstreamLimited(""), None),
        (Unavailable(""), "5"),
        (Interrupted(""), "5"),
        (UpstreamFailed("", retry_after_s=3.0), None),
    ],
)
def test_when_to_come_back(failure: Failure, seconds: str | None) -> None:
    assert respond(failure, verbose=False).headers.get("retry-after") == seconds


def test_a_verbose_422_names_every_field() -> None:
    faults = (FieldError("current_file.file_name", "is required"), FieldError("", "is not valid"))
    detail = (
        "[{'loc': 'current_file.file_name', 'msg': 'is required'}, "
        "{'loc': 'body', 'msg': 'is not valid'}]"
    )
    assert body(Invalid("No.", faults), verbose=True) == (422, {"detail": detail})
    assert body(Invalid("Why."), verbose=True) == (422, {"detail": "Why."})


def _fail(said: str) -> None:
    try:
        int(said)
    except ValueError as error:
        raise LookupError(said) from error


def test_a_trace_names_causes_and_quotes_no_message() -> None:
    said = "what the caller said"
    with pytest.raises(LookupError, match=said) as caught:
        _fail(said)
    text = trace(caught.value)
    assert text.index("LookupError") < text.index("ValueError")
    assert said not in text
    assert "test_a_trace_names_causes" in text
