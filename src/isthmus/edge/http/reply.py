"""A whole answer whose headers are made already: what the busy routes send."""

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

JSON = (b"content-type", b"application/json")

Headers = list[tuple[bytes, bytes]]


class Reply(Response):
    """A status, headers as they go out, and a body; Starlette's own works them out each time.

    Adds the length, so `headers` must not hold one.
    """

    def __init__(self, body: bytes, headers: Headers, status: int = 200) -> None:
        self.body = body
        self.status_code = status
        self.background = None
        self.raw_headers = [*headers, (b"content-length", b"%d" % len(body))]

    async def __call__(
        self,
        scope: Scope,  # noqa: ARG002 - an ASGI application takes three
        receive: Receive,  # noqa: ARG002 - an ASGI application takes three
        send: Send,
    ) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        await send({"type": "http.response.body", "body": self.body})
