"""Whose fault a vendor's refusal is: what their documented errors mean for who is asked next."""

import msgspec
import pytest

from isthmus.adapters.providers._spec import Dialect
from isthmus.adapters.providers.dialects.anthropic import AnthropicDialect
from isthmus.adapters.providers.dialects.converse import ConverseDialect
from isthmus.adapters.providers.dialects.openai import OpenAIDialect
from isthmus.adapters.providers.dialects.vertex import VertexDialect
from isthmus.core.errors import UpstreamFailed, UpstreamTimeout, UpstreamUnreachable
from isthmus.routing.blame import Blame, blame

ANTHROPIC = AnthropicDialect()
OPENAI = OpenAIDialect(own=True, completions=True)
VERTEX = VertexDialect("/v1")
BEDROCK = ConverseDialect({})
AGAIN, SLOW, KEY, PLACE, CALLER = (
    Blame.ELSEWHERE,
    Blame.LIMITED,
    Blame.KEY,
    Blame.PLACE,
    Blame.CALLER,
)


def claude(kind: str, message: str = "No.") -> object:
    return {"type": "error", "error": {"type": kind, "message": message}}


def gpt(code: str | None, kind: str = "invalid_request_error", message: str = "No.") -> object:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def google(status: str, message: str = "No.") -> object:
    return [{"error": {"code": 0, "message": message, "status": status}}]


TABLE: list[tuple[Dialect, int, object, Blame]] = [
    # Anthropic, and Anthropic's models on Vertex AI
    (ANTHROPIC, 400, claude("invalid_request_error"), CALLER),
    (ANTHROPIC, 400, claude("invalid_request_error", "prompt is too long: 9 > 8"), CALLER),
    (
        ANTHROPIC,
        400,
        claude("invalid_request_error", "Output blocked by content filtering"),
        CALLER,
    ),
    (ANTHROPIC, 400, claude("invalid_request_error", "Your credit balance is too low to"), KEY),
    (ANTHROPIC, 401, claude("authentication_error"), KEY),
    (ANTHROPIC, 402, claude("billing_error"), KEY),
    (ANTHROPIC, 403, claude("permission_error"), KEY),
    (ANTHROPIC, 404, claude("not_found_error"), PLACE),
    (ANTHROPIC, 413, claude("request_too_large"), CALLER),
    (ANTHROPIC, 429, claude("rate_limit_error"), SLOW),
    (ANTHROPIC, 500, claude("api_error"), AGAIN),
    (ANTHROPIC, 504, claude("timeout_error"), AGAIN),
    (ANTHROPIC, 529, claude("overloaded_error"), SLOW),
    (VERTEX, 400, claude("invalid_request_error", "prompt is too long: 9 > 8"), CALLER),
    # OpenAI, Azure, Fireworks, Mistral
    (OPENAI, 400, gpt("context_length_exceeded"), CALLER),
    (OPENAI, 400, gpt("content_filter"), CALLER),
    (OPENAI, 400, gpt("content_policy_violation"), CALLER),
    (OPENAI, 400, gpt("billing_hard_limit_reached"), KEY),
    (OPENAI, 400, gpt("OperationNotSupported"), PLACE),
    (OPENAI, 401, gpt("invalid_api_key"), KEY),
    (OPENAI, 403, gpt("unsupported_country_region_territory"), KEY),
    (OPENAI, 403, gpt("model_not_found"), PLACE),
    (OPENAI, 404, gpt("model_not_found"), PLACE),
    (OPENAI, 404, gpt("DeploymentNotFound"), PLACE),
    (OPENAI, 422, {"detail": [{"type": "extra_forbidden"}]}, CALLER),
    (OPENAI, 429, gpt("rate_limit_exceeded", "requests"), SLOW),
    (OPENAI, 429, gpt("insufficient_quota", "insufficient_quota"), KEY),
    (OPENAI, 500, gpt(None, "server_error"), AGAIN),
    (OPENAI, 503, gpt(None, "server_error"), AGAIN),
    (OPENAI, 400, {"object": "error", "type": "invalid_model", "message": "Invalid model"}, PLACE),
    (OPENAI, 400, {"object": "error", "message": "x maximum context length"}, CALLER),
    # Gemini
    (VERTEX, 400, google("INVALID_ARGUMENT"), CALLER),
    (VERTEX, 400, google("INVALID_ARGUMENT", "API key not valid. Please pass a valid one."), KEY),
    (VERTEX, 400, google("INVALID_ARGUMENT", "API key expired. Please renew it."), KEY),
    (VERTEX, 400, google("INVALID_ARGUMENT", "The input token count (9) exceeds"), CALLER),
    (VERTEX, 401, google("UNAUTHENTICATED"), KEY),
    (VERTEX, 403, google("PERMISSION_DENIED"), KEY),
    (VERTEX, 404, google("NOT_FOUND"), PLACE),
    (VERTEX, 429, google("RESOURCE_EXHAUSTED"), SLOW),
    (VERTEX, 500, google("INTERNAL"), AGAIN),
    (VERTEX, 503, google("UNAVAILABLE"), AGAIN),
    # Bedrock
    (BEDROCK, 400, {"message": "Input is too long for requested model."}, CALLER),
    (BEDROCK, 400, {"message": "Malformed input request."}, CALLER),
    (BEDROCK, 400, {"message": "The provided model identifier is invalid."}, PLACE),
    (
        BEDROCK,
        400,
        {"message": "Invocation of model ID anthropic.x with on-demand throughput is not"},
        PLACE,
    ),
    (BEDROCK, 403, {"message": "You don't have access to the model with the specified"}, PLACE),
    (BEDROCK, 403, {"message": "The security token included in the request is invalid."}, KEY),
    (BEDROCK, 404, {"message": "Could not resolve the foundation model"}, PLACE),
    (BEDROCK, 408, {"message": "The request took too long to process."}, AGAIN),
    (BEDROCK, 429, {"message": "Too many requests, please wait."}, SLOW),
    (BEDROCK, 500, {"message": "The system encountered an unexpected error."}, AGAIN),
    (BEDROCK, 503, {"message": "Too many connections."}, AGAIN),
    # Something on the way that is no vendor
    (ANTHROPIC, 403, "<!DOCTYPE html><title>Attention Required!</title>", AGAIN),
    (OPENAI, 401, "\n<html>proxy login</html>", AGAIN),
    (OPENAI, 502, "<html>bad gateway</html>", AGAIN),
    (BEDROCK, 504, "", AGAIN),
]


@pytest.mark.parametrize(("dialect", "status", "body", "expected"), TABLE)
def test_a_refusal_tells_whose_fault_it_is(
    dialect: Dialect, status: int, body: object, expected: Blame
) -> None:
    raw = body.encode() if isinstance(body, str) else msgspec.json.encode(body)
    failure = dialect.failure(status, (), raw)
    assert blame(failure) is expected
    # What is the caller's fault, or the key's, is not tried again at the same place.
    assert failure.retryable == (expected in {AGAIN, SLOW})


def test_a_reason_is_told_where_the_call_fails_anywhere() -> None:
    long = ANTHROPIC.failure(400, (), msgspec.json.encode(claude("x", "prompt is too long: 9")))
    filtered = OPENAI.failure(400, (), msgspec.json.encode(gpt("content_filter")))
    assert (long.reason, filtered.reason) == ("prompt_too_long", "content_policy")


@pytest.mark.parametrize(
    "failure",
    [
        UpstreamFailed("It broke off.", retryable=True),
        UpstreamFailed("It cannot be read."),
        UpstreamUnreachable("Nobody there.", retryable=True),
        UpstreamTimeout("Too slow.", "between_bytes"),
    ],
)
def test_what_breaks_before_content_is_asked_elsewhere(failure: UpstreamFailed) -> None:
    assert blame(failure) is AGAIN
