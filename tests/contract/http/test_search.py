"""`POST /v1/search/gitlab-docs` on the wire, over a real index."""

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from isthmus.adapters.search.build import build
from isthmus.adapters.search.sqlite import SqliteSearch
from isthmus.auth.authenticate import AuthPolicy
from isthmus.core.events import FeatureUsed
from isthmus.edge.http.app import create
from isthmus.gateway.search import SearchDocs
from tests.support.http_app import SERVICE, Stand, bearer

SCOPE = "documentation_search"


def body(**payload: object) -> dict[str, object]:
    return {
        "type": "search",
        "metadata": {"source": "gitlab-docs", "version": "18.2"},
        "payload": {"query": "protected branches"} | payload,
    }


async def post(
    index: Path, sent: object, *scopes: str, stand: Stand | None = None
) -> httpx.Response:
    stand = stand or Stand(policy=AuthPolicy(SERVICE))
    search = SearchDocs(SqliteSearch(index), stand.sink)
    transport = httpx.ASGITransport(create(replace(stand.services(), search=search)))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        headers = bearer({"scopes": list(scopes)})
        return await http.post("/v1/search/gitlab-docs", json=sent, headers=headers)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    docs.mkdir()
    for number in range(9):
        text = f"# Protected branches {number}\n\nA branch is protected {number} times.\n"
        (docs / f"branches{number}.md").write_text(text)
    (docs / "other.md").write_text("# Runners\n\nA runner runs jobs.\n")
    build(docs, tmp_path / "docs.db", "https://docs.test")
    return tmp_path / "docs.db"


async def test_passages_are_found(index: Path) -> None:
    stand = Stand(policy=AuthPolicy(SERVICE))
    reply = await post(index, body(page_size=3), SCOPE, stand=stand)
    assert reply.status_code == 200
    answer = reply.json()
    assert set(answer) == {"response", "metadata"}
    assert answer["metadata"]["provider"] == "sqlite"
    assert isinstance(answer["metadata"]["timestamp"], int)
    results = answer["response"]["results"]
    assert len(results) == 3
    for result in results:
        assert set(result) == {"id", "content", "metadata"}
        assert isinstance(result["id"], str)
        assert result["metadata"]["title"].startswith("Protected branches")
        assert result["metadata"]["source_url"].startswith("https://docs.test/branches")
    (used,) = stand.sink.of(FeatureUsed)
    assert used.unit_primitive == SCOPE


async def test_the_page_has_four_passages_unless_told(index: Path) -> None:
    for sent in (body(), body(page_size=None)):
        assert len((await post(index, sent, SCOPE)).json()["response"]["results"]) == 4


@pytest.mark.parametrize("size", [0, 21, -1, "many"])
async def test_h11_67_page_sizes(index: Path, size: object) -> None:
    assert (await post(index, body(page_size=size), SCOPE)).status_code == 422


async def test_h11_67_without_the_scope(index: Path) -> None:
    reply = await post(index, body(), "complete_code")
    assert reply.status_code == 403
    assert reply.json() == {"detail": "Unauthorized to search documentations"}


async def test_h11_67_without_an_index(tmp_path: Path) -> None:
    reply = await post(tmp_path / "none.db", body(), SCOPE)
    assert reply.status_code == 200
    assert reply.json()["response"] == {"results": []}


@pytest.mark.parametrize(
    "sent",
    [
        {},
        body() | {"type": "x" * 101},
        body() | {"metadata": {"source": "x"}},
        body() | {"metadata": {"source": "x", "version": "1" * 101}},
        body(query="x" * 400_001),
        body(query=None),
    ],
)
async def test_a_body_that_does_not_fit(index: Path, sent: object) -> None:
    assert (await post(index, sent, SCOPE)).status_code == 422


async def test_a_broken_index_is_an_outage(tmp_path: Path) -> None:
    broken = tmp_path / "docs.db"
    broken.write_bytes(b"no database" * 100)
    assert (await post(broken, body(), SCOPE)).status_code == 503
