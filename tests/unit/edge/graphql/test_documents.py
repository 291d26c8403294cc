"""Which texts are queries that the schema knows."""

from pathlib import Path

import pytest
from graphql import get_introspection_query

from isthmus.core.errors import Invalid, NotBuilt, Rejected
from isthmus.edge.graphql.documents import KEPT, Documents, Unfit
from isthmus.edge.graphql.engine import load
from isthmus.settings import InstanceSettings

WIRE = Path(__file__).resolve().parents[3] / "wire" / "graphql"
SCHEMA = load()


def documents(*, introspection: bool = False, depth: int = 20) -> Documents:
    return Documents(SCHEMA, InstanceSettings(introspection=introspection, graphql_depth=depth))


def faults(text: str) -> list[str]:
    with pytest.raises(Unfit) as caught:
        documents().of(text)
    return [error.message for error in caught.value.errors]


@pytest.mark.parametrize("path", sorted(WIRE.glob("*.graphql")), ids=lambda path: path.stem)
def test_what_clients_send_fits_the_schema(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.stem == "events_updated":
        with pytest.raises(NotBuilt, match="WebSocket"):
            documents().of(text)
    else:
        documents().of(text)


def test_an_unknown_field_is_named_without_a_hint() -> None:
    assert faults("{metadata{versio}}") == ["Cannot query field 'versio' on type 'Metadata'."]


@pytest.mark.parametrize(
    "text",
    ["", "{", "{a", "nonsense", "{metadata}", "{currentUser{id}} fragment f on User{id}", "{x:}"],
)
def test_what_is_no_query_is_refused(text: str) -> None:
    assert faults(text)


@pytest.mark.parametrize("text", ["query a{currentUser{id}} query b{currentUser{id}}", "scalar X"])
def test_a_document_holds_one_operation(text: str) -> None:
    with pytest.raises(Invalid, match="one operation"):
        documents().of(text)


def test_long_texts_are_refused_unread() -> None:
    with pytest.raises(Invalid, match="characters"):
        documents().of("#" * 20_000)
    assert "1000 tokens" in faults("{" + "currentUser{id}" * 300 + "}")[0]
    assert "nested" in faults("{" + "a{" * 400 + "a" + "}" * 401)[0]
    with pytest.raises(Rejected, match="levels"):
        documents(depth=4).of("{a{b{c{d{e}}}}}")


def test_introspection_is_a_setting() -> None:
    query = get_introspection_query()
    assert any("introspection" in fault for fault in faults(query))
    assert faults('{__type(name:"User"){name}}')
    documents().of("{__typename currentUser{__typename}}")
    documents(introspection=True).of(query)


@pytest.mark.parametrize(
    ("declared", "place"),
    [
        ("GroupID", "namespaceId"),
        ("NamespaceID!", "rootNamespaceId"),
        ("NamesOfOthers", "projectId"),
    ],
)
def test_a_variables_type_may_have_another_name(declared: str, place: str) -> None:
    documents().of(
        f"query($x:{declared}){{aiChatAvailableModels({place}:$x){{pinnedModel{{ref}}}}}}"
    )


def test_a_variables_type_may_not_be_another_kind() -> None:
    text = "query($x:%s){duoWorkflowWorkflows(ids:$x,first:1){nodes{id}}}"
    documents().of(text % "[Others!]")
    assert "used in position" in faults(text % "Others!")[0]
    assert "used in position" in faults(text % "[Int!]")[0]
    assert faults("query($unused:Others){currentUser{id}}")


def test_few_and_short_documents_are_kept() -> None:
    kept = documents()
    texts = [f"{{currentUser{{a{number}:id}}}}" for number in range(KEPT + 1)]
    for text in texts:
        kept.keep(text, kept.of(text))
        assert kept.known(texts[0])
    assert kept.known(texts[1]) is None
    long = "{currentUser{id}}" + " " * 9_000
    kept.keep(long, kept.of(long))
    assert kept.known(long) is None
