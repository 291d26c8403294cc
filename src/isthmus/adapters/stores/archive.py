"""The file of a backup: lines of JSON in gzip, the same for every database.

    {"isthmus_backup":1,"release":"0.1.0","pre":"0004","post":"","made_at":"..."}
    {"table":"users","columns":["id","name"],"binary":["digest"],"counter":12}
    [1,"local"]                     a row; what is binary is in base64
    {"rows":{"users":1},"sha256":"..."}

The last line counts the rows and has the digest of all lines before it: without it, or with another
one, a file is not used. It takes no more memory than its longest row.
"""

import gzip
import hashlib
import os
import zlib
from binascii import a2b_base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, TypeAlias, cast

import msgspec
from msgspec import Struct, field

from isthmus.adapters.stores.schema import Schema
from isthmus.core.errors import Rejected

FORMAT: Final = 1
MODE: Final = 0o600
LINE_LIMIT: Final = 1 << 30
_LEVEL: Final = 3
_NONE: Final[Sequence[int]] = ()
_encode: Final = msgspec.json.Encoder().encode

Value: TypeAlias = int | str | bytes | bool | None
Row: TypeAlias = Sequence[Value]


class Head(Struct, frozen=True):
    """What made the file, and of which schema."""

    isthmus_backup: int
    release: str
    pre: str
    post: str
    made_at: str

    @property
    def schema(self) -> Schema:
        """The schema of the rows."""
        return Schema(self.pre, self.post)


class Section(Struct, frozen=True):
    """A table. `counter` is the highest id it ever gave, where it counts them."""

    table: str
    columns: tuple[str, ...]
    binary: tuple[str, ...] = ()
    counter: int | None = None


class Foot(Struct, frozen=True):
    """How many rows each table has, and the digest of the lines before."""

    sha256: str
    rows: dict[str, int] = field(default_factory=dict)


class Writer:
    """Writes the lines in their order."""

    def __init__(self, out: IO[bytes], head: Head) -> None:
        self._out = out
        self._digest = hashlib.sha256()
        self._rows: dict[str, int] = {}
        self._table = ""
        self._line(head)

    def section(self, section: Section) -> None:
        """A table begins."""
        self._table = section.table
        self._rows[self._table] = 0
        self._line(section)

    def row(self, row: Row) -> None:
        """A row of the table that began last."""
        self._rows[self._table] += 1
        self._line(row)

    def end(self) -> Mapping[str, int]:
        """All was written. Returns how many rows each table has."""
        self._out.write(_encode(Foot(self._digest.hexdigest(), self._rows)) + b"\n")
        return self._rows

    def _line(self, line: object) -> None:
        encoded = _encode(line) + b"\n"
        self._digest.update(encoded)
        self._out.write(encoded)


@contextmanager
def written(path: Path, head: Head) -> Iterator[Writer]:
    """A new file, for its owner alone, which has its name once it is whole and on the disk.

    Raises Rejected when there is one already, or when it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        if path.exists():
            raise Rejected(f"{path}: there is a file already")
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, MODE)
        try:
            with os.fdopen(descriptor, "wb") as raw:
                os.fchmod(descriptor, MODE)
                with gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as out:
                    yield Writer(cast("IO[bytes]", out), head)
                raw.flush()
                os.fsync(descriptor)
            # A backup that was never read may be none.
            verify(part)
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise Rejected(f"{path}: {error.strerror}") from error


def verify(path: Path) -> tuple[Head, Mapping[str, int]]:
    """Read a file to its end: its head, and the rows by table. Raises Rejected, as `entries`."""
    found = entries(path)
    head, last = next(found), None
    for entry in found:
        last = entry
    return cast("Head", head), cast("Foot", last).rows


def entries(path: Path) -> Iterator[Head | Section | Row | Foot]:
    """The lines in their order: the head first, the foot last, rows with their bytes.

    Raises Rejected when the file is no backup, is cut off, was changed, or is of a later format.
    """
    try:
        with gzip.open(path, "rb") as stream:
            yield from _checked(path, cast("IO[bytes]", stream))
    except (EOFError, gzip.BadGzipFile, zlib.error, msgspec.DecodeError, ValueError) as error:
        raise Rejected(f"{path}: not a backup, or a damaged one") from error
    except OSError as error:
        raise Rejected(f"{path}: {error.strerror}") from error


def _checked(path: Path, stream: IO[bytes]) -> Iterator[Head | Section | Row | Foot]:
    digest, section, binary = hashlib.sha256(), Section("", ()), _NONE
    rows: dict[str, int] = {}
    line = stream.readline(LINE_LIMIT)
    yield _head(path, line)
    while line:
        digest.update(line)
        line = stream.readline(LINE_LIMIT)
        if line.startswith(b"["):
            rows[section.table] += 1
            yield _row(line, binary)
        elif line.startswith(b'{"table"'):
            section = msgspec.json.decode(line, type=Section)
            binary = [section.columns.index(name) for name in section.binary]
            rows[section.table] = 0
            yield section
        elif line:
            foot = msgspec.json.decode(line, type=Foot)
            if foot.sha256 != digest.hexdigest() or foot.rows != rows or stream.read(1):
                raise Rejected(f"{path}: the backup was changed: its checksum does not fit")
            yield foot
            return
    raise Rejected(f"{path}: the backup is cut off")


def _row(line: bytes, binary: Sequence[int]) -> Row:
    row: list[Value] = [*msgspec.json.decode(line, type=list[int | str | bool | None])]
    for index in binary:
        text = row[index]
        row[index] = a2b_base64(text) if isinstance(text, str) else None
    return row


def _head(path: Path, line: bytes) -> Head:
    head = msgspec.json.decode(line, type=Head)
    if head.isthmus_backup != FORMAT:
        raise Rejected(f"{path}: the backup has format {head.isthmus_backup}, which is not known")
    return head
