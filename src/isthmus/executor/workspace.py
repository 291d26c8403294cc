"""The directory that actions work in. Nothing outside it is read, written or listed.

Every component of a path is opened by itself, below the one before, without following symbolic
links: a link that appears between a check and its use leads nowhere. Links are never followed, not
even those that stay inside. Methods block; call them in a thread.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from isthmus.core.errors import ToolRefused
from isthmus.executor.paths import Parts, denied, parts_of

FILE_LIMIT_BYTES = 20 * 1024 * 1024
ENTRY_LIMIT = 50_000

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_SAYS = {
    errno.EACCES: "permission denied",
    errno.EPERM: "not permitted",
    errno.ENOTDIR: "a part of it is not a directory, or is a symbolic link",
    errno.EISDIR: "is a directory",
    errno.EEXIST: "exists already, and is not a directory",
    errno.ELOOP: "is a symbolic link; links are not followed",
    errno.ENAMETOOLONG: "the path is too long",
    errno.ENOSPC: "no space left",
    errno.EROFS: "the file system is read-only",
}


class Workspace:
    """A jail around one directory. `root` is its real path, resolved once.

    Raises NotADirectoryError or FileNotFoundError when it is no directory.
    """

    def __init__(self, directory: Path) -> None:
        self.root = directory.resolve(strict=True)
        if not self.root.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", str(directory))
        self._roots = (str(self.root), str(directory.absolute()))

    def parts(self, path: str) -> Parts:
        """The path's components below the root. Raises ToolRefused."""
        return parts_of(path, self._roots)

    def read(self, path: str, limit_bytes: int = FILE_LIMIT_BYTES) -> bytes:
        """A regular file's content. Raises ToolRefused, also when it is larger than the limit."""
        with self._parent(path) as (parent, name), _said(path):
            _require_regular(os.stat(name, dir_fd=parent, follow_symlinks=False), path)
            with open(os.open(name, _FILE, dir_fd=parent), "rb") as file:
                about = os.fstat(file.fileno())
                _require_regular(about, path)
                data = file.read(limit_bytes + 1)
        if len(data) > limit_bytes:
            raise ToolRefused(f"{path}: larger than {limit_bytes} bytes")
        return data

    def write(self, path: str, data: bytes, *, new: bool = False) -> None:
        """Put a file in place, whole or not at all; missing directories are made, a mode is kept.

        Raises ToolRefused; with `new`, also when there is such a file.
        """
        if len(data) > FILE_LIMIT_BYTES:
            raise ToolRefused(f"{path}: larger than {FILE_LIMIT_BYTES} bytes")
        with self._parent(path, create=True) as (parent, name), _said(path):
            mode = _mode_of(name, parent, path)
            if new and mode is not None:
                raise ToolRefused(f'File exists already: "{path}". Use the edit tool to change it.')
            aside = f".isthmus-{secrets.token_hex(8)}.tmp"
            file = open(os.open(aside, _NEW, 0o666, dir_fd=parent), "wb")  # noqa: SIM115
            try:
                with file:
                    file.write(data)
                    if mode is not None:
                        os.fchmod(file.fileno(), mode)
                os.replace(aside, name, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(aside, dir_fd=parent)
                raise

    def make_directory(self, path: str) -> None:
        """Make a directory and the ones above it; one that exists is fine. Raises ToolRefused."""
        with self._directory(self.parts(path), path, create=True):
            return

    def entries(self, path: str) -> list[str]:
        """Names in a directory, sorted; directories end in `/`, protected names are left out.

        Raises ToolRefused.
        """
        parts = self.parts(path)
        with (
            self._directory(parts, path) as descriptor,
            _said(path),
            os.scandir(descriptor) as all_,
        ):
            found = [
                entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name
                for entry, _ in zip(all_, range(ENTRY_LIMIT), strict=False)
                if not denied((*parts, entry.name))
            ]
        return sorted(_printable(name) for name in found)

    def holds_file(self, path: str) -> bool:
        """Whether an action could read this path: allowed, a regular file, no link on the way."""
        try:
            with self._parent(path) as (parent, name):
                about = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except (ToolRefused, OSError):
            return False
        return stat.S_ISREG(about.st_mode)

    def holds_directory(self, path: str) -> None:
        """Raises ToolRefused unless the path is a directory that may be searched."""
        with self._directory(self.parts(path), path):
            return

    def walk(self) -> Iterator[str]:
        """Paths of files below the root, without links and protected names; a bounded number."""
        seen = 0
        for folder, names, files in os.walk(self.root, followlinks=False):
            above = Path(folder).relative_to(self.root).parts
            names[:] = sorted(name for name in names if not denied((*above, name)))
            for name in sorted(files):
                seen += 1
                if seen > ENTRY_LIMIT:
                    return
                if not denied((*above, name)):
                    yield "/".join((*above, name))

    @contextmanager
    def _directory(self, parts: Parts, path: str, *, create: bool = False) -> Iterator[int]:
        with _said(path):
            descriptor = os.open(self.root, _DIRECTORY)
        try:
            for part in parts:
                with _said(path):
                    below = _entered(descriptor, part, create=create)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _parent(self, path: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        parts = self.parts(path)
        if not parts:
            raise ToolRefused(f"{path or '.'}: is a directory")
        if path.endswith(("/", "/.")):
            raise ToolRefused(f"{path}: names a directory")
        with self._directory(parts[:-1], path, create=create) as descriptor:
            yield descriptor, parts[-1]


def _entered(descriptor: int, part: str, *, create: bool) -> int:
    if create:
        with suppress(FileExistsError):
            os.mkdir(part, dir_fd=descriptor)
    return os.open(part, _DIRECTORY, dir_fd=descriptor)


def _require_regular(about: os.stat_result, path: str) -> None:
    if stat.S_ISLNK(about.st_mode):
        raise ToolRefused(f"{path}: is a symbolic link; links are not followed")
    if stat.S_ISDIR(about.st_mode):
        raise ToolRefused(f"{path}: is a directory")
    if not stat.S_ISREG(about.st_mode):
        raise ToolRefused(f"{path}: is not a regular file")


def _mode_of(name: str, parent: int, path: str) -> int | None:
    try:
        about = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    _require_regular(about, path)
    return stat.S_IMODE(about.st_mode) & 0o777


@contextmanager
def _said(path: str) -> Iterator[None]:
    """Turn the system's errors into a sentence that names the path as it was asked for."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise ToolRefused(f'File not found: "{path}"') from error
        says = _SAYS.get(error.errno or 0, "could not be used")
        raise ToolRefused(f"{path}: {says}") from error


def _printable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
