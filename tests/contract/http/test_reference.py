"""The reference page and the route table say the same."""

from isthmus.edge.http.auth import PUBLIC
from tests.support.reference import PAGE, endpoints, written


def test_the_page_is_the_one_that_make_docs_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == written()


def test_every_closed_route_says_who_may_call_it() -> None:
    closed = [each for each in endpoints() if each.path not in PUBLIC]
    assert [f"{each.method} {each.path}" for each in closed if not each.scopes] == []
