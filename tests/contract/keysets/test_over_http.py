"""From end to end: one gateway publishes its keys, another fetches them and knows the caller."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest

from isthmus.adapters.keysets.jwks import Fetching
from isthmus.adapters.keysets.merged import open_keys
from isthmus.adapters.outbound.client import open_client
from isthmus.auth.authenticate import Authenticator, AuthPolicy
from isthmus.core.errors import Unauthenticated
from isthmus.core.events import KeysRefreshed
from isthmus.edge.http.app import create
from isthmus.settings import OutboundSettings
from tests.support.http_app import KID, Stand, signing_key
from tests.support.listener import listening
from tests.support.sink import MemorySink
from tests.support.tokens import headers_for, payload, private_key, signed

SERVICE = "another-service"


class RealClock:
    """The clocks of this machine."""

    def now_s(self) -> float:
        return time.monotonic()

    def utc(self) -> datetime:
        return datetime.fromtimestamp(time.time(), UTC)


def claims() -> dict[str, object]:
    now_s = int(time.time())
    return payload(aud=SERVICE, iat=now_s, nbf=now_s, exp=now_s + 60)


@pytest.fixture
def issuer_port() -> Iterator[int]:
    with listening(create(Stand().services())) as port:
        yield port


@pytest.mark.parametrize("roots", [("",), ("/",), ("/missing", "")])
async def test_a_token_of_a_real_issuer_is_verified(roots: Sequence[str], issuer_port: int) -> None:
    clock, sink = RealClock(), MemorySink()
    issuers = [f"http://127.0.0.1:{issuer_port}{root}" for root in roots]
    async with (
        open_client(OutboundSettings(), clock) as outbound,
        open_keys((), issuers, Fetching(outbound, clock, sink)) as keys,
    ):
        authenticator = Authenticator(keys, AuthPolicy(SERVICE), sink, clock)
        token = signing_key().sign(claims(), KID)
        assert (await authenticator.caller(headers_for(token))).global_user_id == "user-1"
        with pytest.raises(Unauthenticated):
            await authenticator.caller(headers_for(signed(claims(), private_key("nobody"))))
    assert {(fact.keys, bool(fact.error)) for fact in sink.of(KeysRefreshed)} == {
        (1, False),
        *({(0, True)} if len(roots) > 1 else ()),
    }
