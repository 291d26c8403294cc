"""A route as data: what the application serves and what the OpenAPI document says of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

Stability: TypeAlias = Literal["stable", "deprecated", "ours", "not built"]
"""`ours`: no part of the published contract; `not built`: answers 501."""
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
    query: type | None = None
    """A struct of the parameters in the query, where the reference tells them."""
    reply: type | None = None
    stream_type: str = ""
    """Media type of the streamed answer, when there is one."""
    scopes: str = ""
    """Which scopes let a caller in, in words for the reference; the use case decides."""
    models: str = ""
    """Which providers or features serve it, in words for the reference."""
    stability: Stability = "stable"
    refusals: tuple[int, ...] = ()
    """Statuses of its own, besides those that every route of its kind may answer."""
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Parameter of the path -> its values, where it has few."""
    status: int = 200
    """Of the answer, when all is well."""
    relays: bool = False
    """Whether answers are a provider's own, whatever they are."""
