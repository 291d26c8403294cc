"""A directory as an archive and as a list of files, the same from the same directory.

Owners are kept; times are all one time, order is that of the names.
"""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, cast

LEVEL = 5


def packed(root: Path, out: Path, when: int) -> str:
    """Write what is in `root` as a packed tar file; the SHA-256 of the unpacked one."""
    with out.open("wb") as file, gzip.GzipFile("", "wb", LEVEL, file, mtime=when) as stream:
        summed = _Summed(stream)
        _write(root, summed, when)
    return summed.sum.hexdigest()


def gathered(files: Mapping[str, bytes | Path], out: Path, when: int) -> None:
    """Write a tar file of these files, by their names in it. Programs stay programs."""
    with tarfile.open(out, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in sorted(files.items()):
            about = tarfile.TarInfo(name)
            about.mtime = when
            if isinstance(content, bytes):
                about.size = len(content)
                tar.addfile(about, io.BytesIO(content))
            else:
                found = content.stat()
                about.size = found.st_size
                about.mode = 0o755 if found.st_mode & 0o100 else 0o644
                with content.open("rb") as stream:
                    tar.addfile(about, stream)


def listing(root: Path) -> str:
    """A line for each file: mode, owner, size, SHA-256 or the target of a link, and path."""
    return "".join(f"{line}\n" for line in _lines(root))


def sha256(path: Path) -> str:
    """The digest of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Summed:
    """A stream that sums what is written to it."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self.sum = hashlib.sha256()
        self._stream = stream

    def write(self, data: bytes) -> int:
        """As a file does."""
        self.sum.update(data)
        return self._stream.write(data)


def _write(root: Path, stream: _Summed, when: int) -> None:
    # It needs no more than `write`.
    target = cast("IO[bytes]", stream)
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(root.rglob("*")):
            name = str(path.relative_to(root))
            about = tar.gettarinfo(path, name)
            about.mtime = when
            about.uname = about.gname = ""
            # Hard links depend on the order in which the files were made.
            if about.islnk():
                about.type, about.size = tarfile.REGTYPE, path.stat().st_size
            if about.isreg():
                with path.open("rb") as content:
                    tar.addfile(about, content)
            else:
                tar.addfile(about)


def _lines(root: Path) -> Iterator[str]:
    for path in sorted(root.rglob("*")):
        about = path.lstat()
        if path.is_symlink():
            content = f"-> {path.readlink()}"
        elif path.is_dir():
            content = "directory"
        else:
            content = sha256(path)
        name = path.relative_to(root)
        size = 0 if path.is_dir() else about.st_size
        yield f"{about.st_mode & 0o7777:04o} {about.st_uid}:{about.st_gid} {size} {content} {name}"
