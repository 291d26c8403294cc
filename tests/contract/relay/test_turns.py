"""A turn over a socket, as clients see it. Source: instance contract, sections 3.5 to 3.13."""

from tests.support.relay_stand import RelayStand


async def test_i7_48_a_turn_ends_with_a_notice_of_its_own_and_the_socket(relay: RelayStand) -> None:
    heard = await relay.run({"goal": "hi"})
    assert heard.statuses == ["RUNNING", "INPUT_REQUIRED"]
    assert (heard.code, heard.reason) == (1000, "")
