"""Pages, cursors and global ids."""

import pytest

from isthmus.core.errors import Invalid
from isthmus.edge.graphql.gid import gid, number, tail
from isthmus.edge.graphql.paging import Window, connection, nothing, window


def test_a_page_by_default() -> None:
    assert window({}) == Window(20, None)
    assert window({"first": None, "after": None, "last": None, "before": None}) == Window(20, None)
    assert window({"first": 1_000_000}) == Window(100, None)
    assert window({}, default=1, most=5) == Window(1, None)


def test_cursors_lead_on_and_back() -> None:
    page = connection(("a", "b"), ("12", "11"), later=True)
    info = page["pageInfo"]
    assert isinstance(info, dict)
    assert (info["hasNextPage"], info["hasPreviousPage"]) == (True, False)
    assert window({"first": 2, "after": info["endCursor"]}) == Window(2, "11")
    assert window({"last": 2, "before": info["startCursor"]}) == Window(2, "12", backwards=True)


@pytest.mark.parametrize(
    "args",
    [
        {"first": 0},
        {"last": -1},
        {"first": 1, "last": 1},
        {"last": 1, "after": "MTI="},
        {"first": 1, "before": "MTI="},
        {"first": 1, "after": "not ours"},
        {"first": 1, "after": "é"},
        {"first": 1, "after": "MTI=" * 1000},
        {"first": 1, "after": "LTEy"},
        {"first": 1, "after": ""},
    ],
)
def test_what_makes_no_sense_is_refused(args: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        window(args)


def test_an_empty_page_has_no_cursors() -> None:
    assert nothing()["pageInfo"] == {
        "startCursor": None,
        "endCursor": None,
        "hasNextPage": False,
        "hasPreviousPage": False,
    }


def test_global_ids_name_their_model() -> None:
    assert gid("Project", 5) == "gid://gitlab/Project/5"
    assert gid("Project", None) is None
    assert number("gid://gitlab/Project/5", "Project") == 5
    assert number("gid://gitlab/Namespaces::UserNamespace/5", "Group", "Namespaces::UserNamespace")


@pytest.mark.parametrize(
    "value",
    ["5", 5, None, "gid://gitlab/Group/5", "gid://gitlab/Project/0", "gid://gitlab/Project/5/x",
     "gid://gitlab/Project/" + "9" * 19, {"id": 5}, " gid://gitlab/Project/5"],
)  # fmt: skip
def test_other_ids_are_refused(value: object) -> None:
    with pytest.raises(Invalid, match="Project"):
        number(value, "Project")


def test_the_tail_of_an_id() -> None:
    assert [tail(None), tail("5"), tail("gid://gitlab/Ai::Catalog::ItemVersion/5")] == [None, 5, 5]
    with pytest.raises(Invalid):
        tail("five")
