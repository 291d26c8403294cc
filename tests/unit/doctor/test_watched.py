"""How far a server's clock is from ours, by its Date header."""

from email.utils import formatdate

import pytest

from isthmus.doctor.watched import skew_of

NOW_S = 1_767_225_600.0


@pytest.mark.parametrize(
    ("told_s", "sent_s", "received_s", "skew_s"),
    [
        (NOW_S, NOW_S, NOW_S + 0.2, 0.0),
        (NOW_S, NOW_S + 0.9, NOW_S + 1.1, 0.0),  # the header leaves the fraction out
        (NOW_S, NOW_S - 5.0, NOW_S + 5.0, 0.0),  # a slow answer proves nothing
        (NOW_S + 60.0, NOW_S, NOW_S + 1.0, 59.0),
        (NOW_S - 60.0, NOW_S, NOW_S + 1.0, -59.0),
    ],
)
def test_what_the_way_may_explain_is_no_skew(
    told_s: float, sent_s: float, received_s: float, skew_s: float
) -> None:
    assert skew_of(formatdate(told_s, usegmt=True), sent_s, received_s) == skew_s


@pytest.mark.parametrize("text", ["", "yesterday", "Thu, 99 Foo 2026 00:00:00 GMT"])
def test_a_date_that_makes_no_sense_says_nothing(text: str) -> None:
    assert skew_of(text, NOW_S, NOW_S) is None
