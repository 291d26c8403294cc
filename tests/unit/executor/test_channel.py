"""What the end of a gRPC stream means for who began it."""

import pytest
from grpc import StatusCode

from isthmus.executor.channel import ending_of
from isthmus.executor.wire import Ending


@pytest.mark.parametrize(
    ("code", "details", "ending"),
    [
        (StatusCode.UNAVAILABLE, "the server stops", Ending.AWAY),
        (StatusCode.CANCELLED, "", Ending.AWAY),
        (StatusCode.INTERNAL, "Internal error from Core", Ending.AWAY),
        (StatusCode.INTERNAL, "The session failed.", Ending.REFUSED),
        (StatusCode.UNAUTHENTICATED, "Internal error from Core", Ending.REFUSED),
    ],
)
def test_a_lost_server_is_told_from_one_that_refuses(
    code: StatusCode, details: str, ending: Ending
) -> None:
    assert ending_of(code, details) is ending
