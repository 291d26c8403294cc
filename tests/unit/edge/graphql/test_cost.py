"""How large a query is."""

import pytest
from graphql import parse

from isthmus.core.errors import Rejected
from isthmus.edge.graphql.cost import Size, check, measure

LIST = "{duoWorkflowWorkflows%s{nodes{id goal}}}"


def size(text: str, **variables: object) -> Size:
    return measure(parse(text), variables)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a}", Size(1, 1, 0)),
        ("{a{b c} d}", Size(2, 4, 0)),
        ("{x:a{y:b} z:a}", Size(2, 3, 3)),
        ("{...f} fragment f on Q{a{b ...g}} fragment g on Q{c}", Size(2, 3, 0)),
        ("{...{a ...@include(if:true){b}}}", Size(1, 2, 0)),
        ("{...f ...f} fragment f on Q{x:a}", Size(1, 2, 2)),
        ("{...missing}", Size()),
    ],
)
def test_fields_levels_and_aliases_are_counted(text: str, expected: Size) -> None:
    assert size(text) == expected


@pytest.mark.parametrize(
    ("arguments", "items"),
    [
        ("", 20),
        ("(first:3)", 3),
        ("(last:4)", 4),
        ("(first:1000000000000)", 100),
        ("(first:-5)", 1),
        ("(first:null)", 20),
        ('(workflowId:"gid")', 1),
        ("(workflowId:null)", 20),
        ('(search:"x")', 20),
    ],
)
def test_a_page_costs_as_if_it_were_full(arguments: str, items: int) -> None:
    assert size(LIST % arguments).cost == 1 + items * 3


def test_variables_and_their_defaults_are_counted() -> None:
    text = "query($n:Int=50,$id:X){duoWorkflowWorkflows(first:$n,workflowId:$id){nodes{id goal}}}"
    assert size(text).cost == 151
    assert size(text, n=7).cost == 22
    assert size(text, n=None).cost == 61
    assert size(text, n="many").cost == 61
    assert size(text, id="gid").cost == 4


def test_events_come_one_at_a_time() -> None:
    assert size("{duoWorkflowEvents{nodes{metadata}}}").cost == 3


def test_fragments_that_spread_one_another_are_measured_once() -> None:
    chain = "".join(f"fragment f{n} on Q{{...f{n + 1} ...f{n + 1}}}" for n in range(60))
    assert size("{...f0} fragment f60 on Q{a}" + chain).cost == 2**60


def test_a_fragment_may_not_contain_itself() -> None:
    with pytest.raises(Rejected, match="itself"):
        size("{...f} fragment f on Q{a{...g}} fragment g on Q{...f}")


@pytest.mark.parametrize(
    ("over", "told"),
    [(Size(depth=3), "levels"), (Size(cost=11), "fields"), (Size(aliases=31), "aliases")],
)
def test_what_is_over_a_limit_is_refused(over: Size, told: str) -> None:
    check(Size(2, 10, 30), max_depth=2, max_cost=10)
    with pytest.raises(Rejected, match=told):
        check(over, max_depth=2, max_cost=10)
