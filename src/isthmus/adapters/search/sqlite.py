"""Search in SQLite's FTS5: our own index, or one of the layout that older gateways ship.

Each question opens the file anew, for reading: a new index counts at once.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

import msgspec

from isthmus.adapters.search.terms import expression
from isthmus.core.errors import Unavailable
from isthmus.core.page import Passage
from isthmus.settings import SearchSettings

FILE_NAME = "docs.db"
THREADS = 2
WAITING_MOST = 64
QUERY_LIMIT_S = 2.0
STEPS_BETWEEN_LOOKS = 10_000

Row: TypeAlias = tuple[int | str | None, ...]


@dataclass(frozen=True, slots=True)
class _Layout:
    """A table with these columns, how it is asked, and what a row means."""

    table: str
    columns: frozenset[str]
    select: str
    passage: Callable[[Row], Passage]


def index_file(search: SearchSettings, data_dir: Path) -> Path:
    """Where the index is kept."""
    return search.index or data_dir / FILE_NAME


class SqliteSearch:
    """Implements `Search`. A file that is not there has no passages."""

    def __init__(self, index: Path) -> None:
        self._index = index
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="search")
        self._waiting = 0

    async def find(self, query: str, limit: int) -> Sequence[Passage]:
        """Passages with any of the words, best first.

        Raises Unavailable when the index cannot be read, or when too many ask.
        """
        wanted = expression(query)
        if not wanted:
            return ()
        if self._waiting >= WAITING_MOST:
            raise Unavailable("Too many searches wait.")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, ask, self._index, wanted, limit)
        finally:
            self._waiting -= 1


def ask(index: Path, wanted: str, limit: int) -> Sequence[Passage]:
    """What `find` gives, for an FTS5 expression. Blocking, for seconds at most."""
    if not index.is_file():
        return ()
    until_s = time.monotonic() + QUERY_LIMIT_S
    try:
        address = f"file:{quote(str(index.absolute()))}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=QUERY_LIMIT_S)) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > until_s, STEPS_BETWEEN_LOOKS)
            layout = _layout(connection)
            rows = connection.execute(layout.select, (wanted, limit)).fetchall()
    except sqlite3.Error as error:
        raise Unavailable("The documentation index cannot be read.") from error
    return tuple(layout.passage(row) for row in rows)


def _layout(connection: sqlite3.Connection) -> _Layout:
    for layout in _LAYOUTS:
        told = connection.execute("SELECT name FROM pragma_table_info(?)", (layout.table,))
        if layout.columns <= {name for (name,) in told}:
            return layout
    raise Unavailable("The documentation index has no table that is known.")


def _own(row: Row) -> Passage:
    key, title, headings, content, source, url = row
    metadata: dict[str, object] = {"title": title, "headings": headings, "source": source}
    if url:
        metadata["source_url"] = url
    return Passage(str(key), str(content), metadata)


def _older(row: Row) -> Passage:
    key, told, content = row
    try:
        metadata = msgspec.json.decode(str(told), type=dict[str, object])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        metadata = {}
    return Passage(str(key), str(content), metadata)


_LAYOUTS = (
    _Layout(
        "passages",
        frozenset({"title", "headings", "content", "source", "url"}),
        "SELECT rowid, title, headings, content, source, url FROM passages "
        "WHERE passages MATCH ? ORDER BY bm25(passages, 8.0, 4.0, 1.0) LIMIT ?",
        _own,
    ),
    _Layout(
        "doc_index",
        frozenset({"metadata", "content", "processed"}),
        "SELECT rowid, metadata, content FROM doc_index WHERE doc_index MATCH ? "
        "ORDER BY rank LIMIT ?",
        _older,
    ),
)
