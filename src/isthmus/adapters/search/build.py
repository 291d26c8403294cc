"""A folder of Markdown files -> the index, built beside the old one and put in its place."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from isthmus.adapters.search.markdown import Piece, pieces

SUFFIXES = (".md", ".markdown")
FILE_LIMIT_BYTES = 4 * 1024 * 1024
TABLE = "passages"
_CREATE = f"""
CREATE VIRTUAL TABLE {TABLE} USING fts5(
  title, headings, content, source UNINDEXED, url UNINDEXED,
  tokenize = 'porter unicode61 remove_diacritics 2'
)
"""
_INSERT = f"INSERT INTO {TABLE}(title, headings, content, source, url) VALUES (?, ?, ?, ?, ?)"  # noqa: S608 - the table's name is ours


@dataclass(frozen=True, slots=True)
class Built:
    """What went into an index; `skipped` are files that are too large or cannot be read."""

    files: int
    passages: int
    skipped: tuple[str, ...]


def build(folder: Path, index: Path, site: str = "") -> Built:
    """Index every Markdown file below `folder`; readers see the old index until the new is whole.

    Hidden files and folders, and links, are left out. `site` is the address of the folder, for
    links. Blocking. Raises OSError, or sqlite3.Error when the index cannot be written.
    """
    index.parent.mkdir(parents=True, exist_ok=True)
    fresh = index.with_name(f".{index.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        built = _fill(fresh, folder, site.rstrip("/"))
        fresh.replace(index)
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
    return built


def _fill(fresh: Path, folder: Path, site: str) -> Built:
    files = passages = 0
    skipped: list[str] = []
    with closing(sqlite3.connect(fresh)) as connection, connection:
        # Nobody reads this file before it is whole, and a broken one is thrown away.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute(_CREATE)
        for path in _documents(folder):
            source = path.relative_to(folder).as_posix()
            text = _text(path)
            if text is None:
                skipped.append(source)
                continue
            rows = [_row(piece) for piece in pieces(text, source, site)]
            connection.executemany(_INSERT, rows)
            files += 1
            passages += len(rows)
        connection.execute(f"INSERT INTO {TABLE}({TABLE}) VALUES ('optimize')")  # noqa: S608 - the table's name is ours
    return Built(files, passages, tuple(skipped))


def _documents(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if name.lower().endswith(SUFFIXES) and name[0] != "." and not path.is_symlink():
                yield path


def _text(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            data = stream.read(FILE_LIMIT_BYTES + 1)
    except OSError:
        return None
    return None if len(data) > FILE_LIMIT_BYTES else data.decode("utf-8", "replace")


def _row(piece: Piece) -> tuple[str, str, str, str, str]:
    return piece.title, " > ".join(piece.headings), piece.content, piece.source, piece.url
