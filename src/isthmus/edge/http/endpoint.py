"""A route as data: what the application serves and what the OpenAPI document says of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response

Handle: TypeAlias = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route. `body` and `reply` are msgspec structs of the JSON on the wire.

    `path` is a template as Starlette reads it. Authentication has run before `handle`, unless the
    path stands in `auth.PUBLIC`; the caller is `auth.caller_of(request)`. `handle` raises a Failure
    for every error.
    """

    method: str
    path: str
    handle: Handle
    summary: str
    body: type | None = None
    reply: type | None = None
    stream_type: str = ""
    """Media type of the streamed answer, when there is one."""
