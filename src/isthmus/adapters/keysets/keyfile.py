"""The file with the signing key that is made at the first start and kept between runs."""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from isthmus.auth.issue import SigningKey, new_private_key_pem

FILE_NAME = "signing_key.pem"
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
    """Write a complete file aside and link it into place; whoever was first wins."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(aside, path)
    finally:
        aside.unlink()
