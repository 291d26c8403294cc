"""Which endpoint a path finds, and that remembering paths changes nothing."""

from starlette.requests import Request
from starlette.responses import Response

from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.table import Table


async def _handle(_: Request) -> Response:
    raise AssertionError("nobody asks")


TABLE = Table(
    Endpoint("POST", path, _handle, "Answer.") for path in ("/plain", "/a/{path:path}", "/b/{one}")
)


def test_a_path_is_found_again_whatever_was_asked_between() -> None:
    for _ in range(2):
        for number in range(1000):
            assert TABLE.template(f"/a/x/{number}") == "/a/{path:path}"
            assert TABLE.template(f"/b/{number}") == "/b/{one}"
        assert TABLE.template("/plain") == "/plain"
        assert TABLE.template("/a/" + "x" * 10_000) == "/a/{path:path}"
        assert TABLE.template("/b/x/y") == ""
