"""The `Search` port over SQLite: our index, the older layout, and files that are neither."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from isthmus.adapters.search.build import FILE_LIMIT_BYTES, build
from isthmus.adapters.search.sqlite import WAITING_MOST, SqliteSearch
from isthmus.core.errors import Unavailable
from isthmus.core.ports import Search

PAGES = {
    "branches.md": "---\ntitle: Protected branches\n---\n\nRules.\n\n## Who may\n\nX.\n",
    "user/_index.md": "# Users\n\nWho protects branches is [told](../branches.md).\n",
    "user/.hidden.md": "# Hidden\n\nprotected\n",
    ".git/x.md": "# Hidden\n\nprotected\n",
    "notes.txt": "protected",
    "ci/RUNNERS.MD": "# Runners\n\nA café runs jobs.\n",
}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    for name, text in PAGES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "link.md").symlink_to(folder / "branches.md")
    (folder / "huge.md").write_bytes(b"x" * (FILE_LIMIT_BYTES + 1))
    (folder / "latin.md").write_bytes(b"# Latin\n\nna\xefve words\n")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_the_best_passage_comes_first(docs: Path, tmp_path: Path) -> None:
    index = tmp_path / "var" / "docs.db"
    built = await asyncio.to_thread(build, docs, index, "https://docs.test/")
    assert (built.files, built.passages, built.skipped) == (4, 5, ("huge.md",))
    search: Search = SqliteSearch(index)
    found = await search.find("How are branches protected?", 10)
    assert [passage.metadata["source"] for passage in found] == [
        "branches.md",
        "branches.md",
        "user/_index.md",
    ]
    assert found[2].metadata == {
        "title": "Users",
        "headings": "",
        "source": "user/_index.md",
        "source_url": "https://docs.test/user/",
    }
    assert "[told](https://docs.test/branches/)" in found[2].content
    assert len({passage.id for passage in found}) == 3
    assert len(await search.find("branches", 1)) == 1
    assert [one.metadata["title"] for one in await search.find("cafe", 5)] == ["Runners"]
    assert await search.find("hidden", 5) == ()


@pytest.mark.parametrize("query", ['"', "NEAR(a", "title:", "*", "\x00", "'; DROP TABLE y", ""])
async def test_hostile_queries_find_nothing(docs: Path, tmp_path: Path, query: str) -> None:
    await asyncio.to_thread(build, docs, tmp_path / "docs.db")
    assert await SqliteSearch(tmp_path / "docs.db").find(query, 4) == ()


async def test_a_new_index_counts_at_once(docs: Path, tmp_path: Path) -> None:
    index = tmp_path / "docs.db"
    search = SqliteSearch(index)
    assert await search.find("zebra", 4) == ()
    await asyncio.to_thread(build, docs, index)
    assert await search.find("zebra", 4) == ()
    (docs / "zebra.md").write_text("# Zebra\n\nStripes.\n")
    await asyncio.to_thread(build, docs, index)
    assert len(await search.find("zebra", 4)) == 1
    assert names(tmp_path) == ["docs", "docs.db"]


async def test_an_index_that_cannot_be_built_leaves_the_old_one(docs: Path, tmp_path: Path) -> None:
    index = tmp_path / "docs.db"
    await asyncio.to_thread(build, docs, index)
    taken = tmp_path / "taken"
    (taken / "docs.db" / "x").mkdir(parents=True)
    with pytest.raises(OSError, match=r"docs\.db"):
        await asyncio.to_thread(build, docs, taken / "docs.db")
    assert names(taken) == ["docs.db"]
    assert await SqliteSearch(index).find("branches", 4)


async def test_the_older_layout_is_read(tmp_path: Path) -> None:
    index = tmp_path / "docs.db"
    rows = [
        (json.dumps({"title": "Branches", "size": 3}), "About branches.", "branch protect"),
        ("no json", "Jobs.", "job runner"),
    ]
    with closing(sqlite3.connect(index)) as connection, connection:
        connection.execute(
            "CREATE VIRTUAL TABLE doc_index USING fts5(metadata, content, processed)"
        )
        connection.executemany("INSERT INTO doc_index VALUES (?, ?, ?)", rows)
    search = SqliteSearch(index)
    (branches,) = await search.find("branch", 4)
    assert (branches.id, branches.content) == ("1", "About branches.")
    assert branches.metadata == {"title": "Branches", "size": 3}
    (jobs,) = await search.find("runner", 4)
    assert (jobs.content, jobs.metadata) == ("Jobs.", {})


@pytest.mark.parametrize("data", [b"no database" * 200, b""])
async def test_a_file_that_is_no_index_is_an_outage(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "docs.db").write_bytes(data)
    with pytest.raises(Unavailable):
        await SqliteSearch(tmp_path / "docs.db").find("x", 4)


async def test_only_so_many_searches_wait(docs: Path, tmp_path: Path) -> None:
    await asyncio.to_thread(build, docs, tmp_path / "docs.db")
    search = SqliteSearch(tmp_path / "docs.db")
    answers = await asyncio.gather(
        *(search.find("branches", 4) for _ in range(WAITING_MOST + 10)), return_exceptions=True
    )
    assert sum(isinstance(answer, Unavailable) for answer in answers) == 10
    assert len(await search.find("branches", 4)) == 3
