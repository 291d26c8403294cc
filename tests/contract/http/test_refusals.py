"""Route families' own answers to failures, by table."""

import json
from collections.abc import Callable

import pytest
from starlette.responses import Response

from isthmus.core.errors import (
    Failure,
    FieldError,
    Forbidden,
    Invalid,
    NotFound,
    Rejected,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from isthmus.edge.http import refusals

LACKING = FieldError("inputs.diff", "is missing")


@pytest.mark.parametrize(
    ("refuse", "failure", "expected"),
    [
        (refusals.prompts, NotFound("No such prompt."), (400, "No such prompt.")),
        (refusals.prompts, Invalid("Lacks: diff.", (LACKING,)), (422, "Lacks: diff.")),
        (refusals.prompts, Invalid("No.", (FieldError("inputs", "is required"),)), None),
        (refusals.prompts, Rejected("No."), None),
        (refusals.prompts, UpstreamTimeout("x", "total"), (421, "408: Request Timeout")),
        (refusals.prompts, UpstreamUnreachable("x"), (421, "500: Internal Server Error")),
        (refusals.prompts, UpstreamLimited("x", status=429), (421, "429: Too Many Requests")),
        (refusals.prompts, UpstreamLimited("x", status=529), (421, "529: Overloaded")),
        (refusals.prompts, UpstreamLimited("x"), (421, "429: Too Many Requests")),
        (refusals.prompts, UpstreamFailed("x", status=401), (421, "401: Unauthorized")),
        (refusals.prompts, UpstreamFailed("x", status=499), (421, "499: Unknown Error")),
        (refusals.prompts, UpstreamFailed("x"), (421, "502: Bad Gateway")),
        (refusals.chat, UpstreamTimeout("x", "connect"), (504, "Anthropic API Timeout Error.")),
        (refusals.chat, UpstreamUnreachable("x"), (502, "Anthropic API Connection Error.")),
        (refusals.chat, UpstreamFailed("x", status=500), (502, "Anthropic API Status Error.")),
        (refusals.chat, Forbidden("No."), None),
        (refusals.embeddings, UpstreamLimited("x", status=529), (429, "x")),
        (refusals.embeddings, UpstreamFailed("x", status=401), (401, "x")),
        (refusals.embeddings, UpstreamFailed("x", status=400), (400, "x")),
        (refusals.embeddings, UpstreamFailed("x", status=503), None),
        (refusals.embeddings, UpstreamTimeout("x", "total"), None),
    ],
)
def test_a_family_answers_in_its_own_words(
    refuse: Callable[[Failure], Response | None],
    failure: Failure,
    expected: tuple[int, str] | None,
) -> None:
    reply = refuse(failure)
    if expected is None:
        assert reply is None
    else:
        assert reply is not None
        told = (reply.status_code, json.loads(bytes(reply.body))["detail"])
        assert told == expected
