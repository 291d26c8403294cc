"""Wires of `POST /v1/amazon_q/...`, which are checked and then refused.

Source: HTTP gateway contract, section 8.4.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from isthmus.edge.http.auth import caller_of
from isthmus.edge.http.body import decoder, read
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.services import Services
from isthmus.gateway.amazon_q import refuse

Short = Annotated[str, Meta(max_length=255)]
Address = Annotated[str, Meta(max_length=500)]
Plain = Annotated[str, Meta(max_length=1024)]
Role = Annotated[str, Meta(max_length=2048)]


class Application(Struct, frozen=True):
    """What an OAuth application is made of."""

    client_id: Short
    client_secret: Annotated[str, Meta(max_length=1000)]
    instance_url: Address
    redirect_url: Address
    role_arn: Role


class Removal(Struct, frozen=True):
    """Whose OAuth application goes."""

    role_arn: Role


class Verification(Struct, frozen=True):
    """Whose OAuth application is checked."""

    role_arn: Role
    code: Short


class MergeRequest(Struct, frozen=True, tag_field="source", tag="merge_request"):
    """A command in a merge request."""

    command: Short
    project_path: Plain
    project_id: Plain
    note_id: Plain | None
    discussion_id: Plain
    merge_request_id: Plain
    merge_request_iid: Plain
    source_branch: Plain
    target_branch: Plain
    last_commit_id: Plain
    start_sha: Plain | None = None
    head_sha: Plain | None = None
    file_path: Plain | None = None
    comment_start_line: Plain | None = None
    comment_end_line: Plain | None = None
    user_message: Plain | None = None


class Issue(Struct, frozen=True, tag_field="source", tag="issue"):
    """A command in an issue."""

    command: Short
    project_path: Plain
    project_id: Plain
    note_id: Plain | None
    discussion_id: Plain
    issue_id: Plain
    issue_iid: Plain


class WebHook(Struct, frozen=True, tag_field="source", tag="web_hook"):
    """A web hook, passed on."""

    data: dict[str, object]


class Event(Struct, frozen=True):
    """Something happened that Amazon Q should hear of."""

    role_arn: Role
    code: Short
    payload: MergeRequest | Issue | WebHook
    event_id: Short = "Quick Action"


def routes(services: Services) -> list[Endpoint]:
    """Four routes that answer 501."""
    del services
    base = "/v1/amazon_q"
    table: tuple[tuple[str, type, str], ...] = (
        (f"{base}/oauth/application", Application, "Register an OAuth application"),
        (f"{base}/oauth/application/delete", Removal, "Remove an OAuth application"),
        (f"{base}/oauth/application/verify", Verification, "Check an OAuth application"),
        (f"{base}/events", Event, "Send an event"),
    )
    return [
        Endpoint(
            "POST",
            path,
            _handler(body),
            summary,
            body,
            scopes="`amazon_q_integration`",
            stability="not built",
            refusals=(501,),
        )
        for path, body, summary in table
    ]


def _handler(body: type) -> Callable[[Request], Awaitable[Response]]:
    decode = decoder(body)

    async def handle(request: Request) -> Response:
        decode(await read(request))
        refuse(caller_of(request))

    return handle
