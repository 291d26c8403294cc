"""What the one pass over a request's headers finds."""

from starlette.types import Message

from isthmus.edge.http.exchange import Exchange
from tests.support.clock import HandClock


async def _receive() -> Message:
    raise AssertionError("nobody reads")


async def _send(message: Message) -> None:
    raise AssertionError(message)


def opened(*headers: tuple[bytes, bytes]) -> Exchange:
    return Exchange({"headers": list(headers)}, _receive, _send, HandClock())


def test_only_what_somebody_reads_is_kept_and_the_first_counts() -> None:
    exchange = opened(
        (b"cookie", b"secret"),
        (b"user-agent", b"one"),
        (b"x-gitlab-realm", b"saas"),
        (b"user-agent", b"two"),
    )
    assert exchange.headers == {"user-agent": "one", "x-gitlab-realm": "saas"}
    assert (exchange.origin, exchange.length) == (False, None)


def test_what_the_layers_need_is_set_apart() -> None:
    exchange = opened((b"origin", b""), (b"content-length", b"12"), (b"content-length", b"13"))
    assert exchange.headers == {}
    assert (exchange.origin, exchange.length) == (True, "12")


def test_names_without_end_are_read_like_the_first_ones() -> None:
    for number in range(2000):
        name = f"x-gitlab-{number}"
        assert opened((name.encode(), b"v"), (f"x-{number}".encode(), b"v")).headers == {name: "v"}
    long = "x-gitlab-" + "a" * 1000
    assert opened((long.encode(), b"v")).headers == {long: "v"}


def test_wall_time_moves_with_the_clock_and_no_time_is_none_at_first() -> None:
    clock = HandClock()
    exchange = Exchange({"headers": []}, _receive, _send, clock)
    assert not exchange.arrived_at_s <= 0
    assert not exchange.arrived_at_s >= 0
    exchange.arrived_at_s = 5000.0
    clock.advance(1.5)
    assert exchange.wall_s() == 5001.5
