"""Secrets that stand in a file each, as container engines mount them. Reads files.

No fault repeats what is in one.
"""

import os
import stat

SUFFIX = "_FILE"
"""A secret's variable with this behind its name gives the path of the file that holds it."""

LIMIT_BYTES = 64 * 1024


def read_secret(path: str) -> str:
    """What the file holds, without the end of its last line. Raises ValueError with the reason."""
    if "\n" in path or len(path) > os.pathconf("/", "PC_PATH_MAX"):
        raise ValueError("must be the path of a file, not what it holds")
    # Who gave the secret itself where its path was wanted must not find it in a log.
    named = path if "/" in path else "it"
    try:
        # Non-blocking: opening a pipe must not hang the start.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError(f"{named} is not a file")
            data = file.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{named} cannot be read: {error.strerror}") from None
    if len(data) > LIMIT_BYTES:
        raise ValueError(f"{named} is larger than {LIMIT_BYTES} bytes")
    try:
        return data.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"{named} is not UTF-8 text") from None
