"""The file with the signing key that is made at the first start and kept between runs."""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from isthmus.auth.issue import SigningKey, new_private_key_pem, verification_key
from isthmus.core.ports import VerificationKey

FILE_NAME = "signing_key.pem"
FORMER_NAME = "former_key.pem"
"""The public half of the key that was there before it; beside it."""
FIRST_NAME = "first_key.pem"
"""The public half of the key that was there first, by which the instance goes on to be known."""
LOCAL_KID = "isthmus_local_key"
FORMER_KID = "isthmus_former_key"
SIZE_LIMIT_BYTES = 64 * 1024


class UnsafeKeyFile(ValueError):
    """The key file cannot be trusted or used; the text names the file and what to do."""


def load_or_create(path: Path) -> SigningKey:
    """The key in `path`; a new one is made, with mode 0600, when there is no such file.

    Safe when several processes start at once: all of them end with the same key. Blocking. Raises
    UnsafeKeyFile, or OSError when the file cannot be read or made.
    """
    with suppress(FileNotFoundError):
        return _load(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _create(path, new_private_key_pem())
    return _load(path)


def load_former(folder: Path, name: str = FORMER_NAME) -> VerificationKey | None:
    """The key that the made one replaced; None when there is none. Blocking.

    Raises UnsafeKeyFile, or OSError when the file cannot be read.
    """
    path = folder / name
    try:
        return verification_key(path.read_text(encoding="ascii"), FORMER_KID)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UnsafeKeyFile(f"{path}: {error}") from error


def rotate(folder: Path) -> tuple[VerificationKey, VerificationKey]:
    """Make a new key; the public half of the old one stays accepted. Returns both, the new first.

    What was the former key until now is forgotten. Blocking. Raises FileNotFoundError when there is
    no key, UnsafeKeyFile, or OSError.
    """
    path = folder / FILE_NAME
    old = _load(path)
    if not (folder / FIRST_NAME).exists():
        put(folder / FIRST_NAME, old.public_pem())
    put(folder / FORMER_NAME, old.public_pem())
    put(path, new_private_key_pem())
    return _load(path).public(LOCAL_KID), old.public(FORMER_KID)


def put(path: Path, pem: bytes) -> None:
    """Write a file that its owner alone may read, in one step. Blocking."""
    aside = _aside(path, pem)
    try:
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _load(path: Path) -> SigningKey:
    # Non-blocking: opening a pipe that somebody put there must not hang the start.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_size > SIZE_LIMIT_BYTES:
            raise UnsafeKeyFile(f"{path} is not a key file")
        if about.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise UnsafeKeyFile(
                f"{path} may be read or changed by others: run `chmod 600 {path}` if nobody has, "
                "or remove it to have a new key made"
            )
        data = file.read(SIZE_LIMIT_BYTES)
    try:
        return SigningKey.from_pem(data, made_here=True)
    except ValueError as error:
        raise UnsafeKeyFile(f"{path}: {error}") from error


def _create(path: Path, pem: bytes) -> None:
    """Link a complete file into place; whoever was first wins."""
    aside = _aside(path, pem)
    try:
        with suppress(FileExistsError):
            os.link(aside, path)
    finally:
        aside.unlink()


def _aside(path: Path, pem: bytes) -> Path:
    """A complete file beside `path`, for its owner alone."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    return aside
