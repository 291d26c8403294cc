"""Facts that the tests of telemetry share."""

from isthmus.core.events import HttpServed, ModelCalled
from isthmus.core.messages import Usage

SERVED = HttpServed(
    method="POST",
    route="/v2/code/completions",
    path="/v2/code/completions?x=1",
    status=200,
    http_version="1.1",
    client="10.0.0.1:5555",
    user_agent="editor/1.0",
    request_id="req-1",
    arrived_at_s=1_700_000_000.25,
    duration_s=70.0,
    response_start_s=0.4,
    first_chunk_s=0.5,
    cpu_s=0.01,
    content_type="application/json",
    aborted=False,
    bound=(("gitlab_realm", "saas"),),
    fields=(("token_issuer", "https://gitlab.example"), ("auth_duration_s", 0.001)),
)
CALLED = ModelCalled(
    provider="anthropic",
    engine="anthropic",
    model="claude",
    feature="code_completions",
    unit_primitive="complete_code",
    streaming=True,
    duration_s=0.7,
    first_byte_s=0.2,
    usage=Usage(input_tokens=10, output_tokens=3),
    error="none",
    finish="stop",
)
SECRET = "glpat" + "-abcDEF123_-ghiJKL456"
