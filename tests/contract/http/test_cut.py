"""Streams that a limit or a guard of ours cuts: an error in the route's format, and no end.

And how the limits stand, in headers and in the bodies of refusals.
"""

import asyncio
import json

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from isthmus.core.errors import LimitExceeded, Withheld
from isthmus.core.events import HttpServed
from isthmus.core.limits import LimitKey, LimitState, Standing
from isthmus.core.notes import NOTES
from isthmus.edge.http import cut
from isthmus.edge.http.app import assemble, create
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.refusals import instance as instance_refuses
from tests.support.chat_stand import Instance, claude
from tests.support.http_app import EVENTS, ScriptedUpstream, Stand
from tests.support.listener import listening
from tests.support.suggest_stand import Editor, Scripted

TIGHT = LimitState("team-tokens", "tokens", 1_000, 60.0, 0, 41.2)
WIDE = LimitState("at-once", "concurrency", 10, 60.0, 9, 1.0)
OVER = LimitExceeded("The limit 'team-tokens' was reached.", 41.2, "team-tokens", TIGHT)
SECRET = Withheld("The answer holds a secret.", "private-key")
CUT = pytest.mark.parametrize(
    ("failure", "kind"), [(OVER, "rate_limit_exceeded"), (SECRET, "content_withheld")]
)
V4_BODY = {
    "prompt_components": [
        {
            "type": "code_editor_completion",
            "payload": {
                "file_name": "m.go",
                "content_above_cursor": "func Max(a, b int) int {\n\t",
                "content_below_cursor": "\n}\n",
                "language_identifier": "go",
                "stream": True,
            },
        }
    ]
}
PROMPT = "/v2/prompts/generate_commit_message"
PROMPT_BODY = {"inputs": {"diff": "--- a\n+++ b\n"}, "stream": True}
AGENT = "/v2/chat/agent"
AGENT_BODY = {"messages": [{"role": "user", "content": "What is it?"}]}
SCOPES = ("duo_classic_chat",)


async def raw(port: int, path: str, body: bytes, *headers: str) -> tuple[str, bytes, bool]:
    """Head and body, chunks joined, of a real answer, and whether it had its end."""
    lines = [f"POST {path} HTTP/1.1", "host: x", "connection: close", *headers]
    head = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode() + body)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    found, _, rest = answer.partition(b"\r\n\r\n")
    ended = rest.endswith(b"0\r\n\r\n") or b"content-length" in found.lower()
    pieces: list[bytes] = []
    while b"transfer-encoding" in found.lower() and rest:
        size, _, rest = rest.partition(b"\r\n")
        pieces.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    return found.decode("latin-1").lower(), b"".join(pieces) or rest, ended


@CUT
async def test_v4_ends_in_an_error_event(failure: Exception, kind: str) -> None:
    editor = Editor((Scripted("anthropic", "return", failure),))
    with listening(editor.app()) as port:
        head, body, ended = await raw(port, "/v4/code/suggestions", json.dumps(V4_BODY).encode())
    assert " 200 " in head
    assert b"event: content_chunk" in body
    last = body.rpartition(b"event: ")[2]
    assert last.startswith(b"error\r\ndata: ")
    error = json.loads(last.partition(b"data: ")[2])["error"]
    assert (error["type"], error["message"]) == (kind, str(failure))
    assert error["rule"]
    assert not ended
    assert editor.stand.sink.of(HttpServed)[-1].aborted


@pytest.mark.parametrize(
    ("path", "body", "scopes"), [(PROMPT, PROMPT_BODY, None), (AGENT, AGENT_BODY, SCOPES)]
)
@pytest.mark.parametrize("failure", [OVER, SECRET])
async def test_lines_end_in_an_error(
    path: str, body: object, scopes: tuple[str, ...] | None, failure: Exception
) -> None:
    said = "Thought: known.\nFinal Answer: It is a bug in the reader of lines"
    instance = Instance((claude(said, failure),), scopes=scopes)
    status, text = await instance.post_until_broken(path, body)
    last = json.loads(text.splitlines()[-1])
    told = last["error"] if path == PROMPT else last["data"]
    assert (status, told["message"]) == (200, str(failure))
    assert instance.stand.sink.of(HttpServed)[-1].aborted


@pytest.mark.parametrize(
    ("path", "body", "scopes"), [(PROMPT, PROMPT_BODY, None), (AGENT, AGENT_BODY, SCOPES)]
)
async def test_before_anything_was_said_it_is_a_refusal(
    path: str, body: object, scopes: tuple[str, ...] | None
) -> None:
    reply = await Instance((claude(OVER),), scopes=scopes).post(path, body)
    assert reply.status_code == 429
    assert reply.headers["retry-after"] == "42"
    assert reply.json() == {"detail": OVER.detail, "rule": "team-tokens"}


@pytest.mark.parametrize("first", [b"data: 1\n\n", b"data: {"])
@CUT
async def test_a_forwarded_stream_ends_in_the_vendor_s_error(
    first: bytes, failure: Exception, kind: str
) -> None:
    stand = Stand()
    upstream = stand.upstream
    assert isinstance(upstream, ScriptedUpstream)
    upstream.reply_headers = EVENTS
    upstream.steps = [first, failure]
    with listening(create(stand.services())) as port:
        head, body, ended = await raw(
            port,
            "/v1/proxy/anthropic/v1/messages",
            b'{"model":"claude-test","stream":true}',
            "x-gitlab-unit-primitive: ai_gateway_model_provider_proxy",
        )
    assert " 200 " in head
    assert body.startswith(first)
    event, data = body.removeprefix(first).strip().split(b"\n")
    assert event == b"event: error"
    told = json.loads(data.removeprefix(b"data: "))
    expected = "rate_limit_error" if kind == "rate_limit_exceeded" else "permission_error"
    assert told == {"type": "error", "error": {"type": expected, "message": str(failure)}}
    assert not ended
    assert stand.sink.of(HttpServed)[-1].aborted


def test_the_other_vendors_have_words_of_their_own() -> None:
    error = json.loads(cut.openai(OVER).removeprefix(b"data: "))["error"]
    assert (error["code"], error["message"]) == ("rate_limit_exceeded", OVER.detail)
    error = json.loads(cut.google(OVER).removeprefix(b"data: "))["error"]
    assert (error["code"], error["status"]) == (429, "RESOURCE_EXHAUSTED")
    error = json.loads(cut.google(SECRET).removeprefix(b"data: "))["error"]
    assert (error["code"], error["status"]) == (403, "PERMISSION_DENIED")


def noting(*states: LimitState, failure: Exception | None = None) -> Endpoint:
    keys = tuple(LimitKey(s.rule, "", s.amount, s.window_s, s.counted) for s in states)

    async def handle(_: Request) -> Response:
        notes = NOTES.get()
        assert notes is not None
        notes.limits = Standing(states[0], keys) if states else None
        if failure is not None:
            raise failure
        return JSONResponse({})

    return Endpoint("POST", "/noted", handle, "Note.")


async def test_headers_tell_how_the_limits_stand() -> None:
    with listening(assemble(Stand().services(), [noting(TIGHT, WIDE)])) as port:
        head, _, ended = await raw(port, "/noted", b"{}")
    told = dict(line.split(": ", 1) for line in head.splitlines()[1:])
    assert ended
    assert told["ratelimit-limit"] == "1000"
    assert told["ratelimit-remaining"] == "0"
    assert told["ratelimit-reset"] == "42"
    assert told["ratelimit-policy"] == (
        '1000;w=60;name="team-tokens";counts="tokens", 10;name="at-once";counts="concurrency"'
    )


async def test_a_refusal_names_its_rule_and_when_to_come_back() -> None:
    with listening(assemble(Stand().services(), [noting(TIGHT, failure=OVER)])) as port:
        head, body, _ = await raw(port, "/noted", b"{}")
    assert head.startswith("http/1.1 429 ")
    assert "\r\nretry-after: 42\r\n" in head
    assert "\r\nratelimit-remaining: 0\r\n" in head
    assert json.loads(body) == {"detail": OVER.detail, "rule": "team-tokens"}


async def test_without_limits_there_are_no_headers() -> None:
    with listening(assemble(Stand().services(), [noting()])) as port:
        head, _, _ = await raw(port, "/noted", b"{}")
    assert "ratelimit" not in head


def test_the_instance_names_the_rule_in_its_own_words() -> None:
    reply = instance_refuses(OVER)
    assert reply is not None
    assert json.loads(bytes(reply.body))["message"]["rule"] == "team-tokens"
