"""Hashes of passwords: scrypt, with its parameters in front, so that they can grow.

Source: RFC 7914; OWASP Password Storage Cheat Sheet (N = 2^15, r = 8, p = 3). Each takes 32 MiB and
a good part of a second: callers run these beside the event loop, few at a time.
"""

import base64
import hashlib
import hmac
import re
import unicodedata
from typing import Final

LEAST_CHARS: Final = 10
MOST_CHARS: Final = 256
SALT_BYTES: Final = 16
_KEY_BYTES: Final = 32
_FORM: Final = re.compile(
    r"scrypt\$(\d{1,2})\$(\d{1,2})\$(\d{1,2})\$([\w+/=]{1,64})\$([\w+/=]{44})"
)
_NOW: Final = (15, 8, 3)
NOBODYS: Final = f"scrypt$15$8$3${'A' * 22}==${'A' * 43}="
"""A hash that no password has: checking it takes as long as checking another one."""


def hashed(password: str, salt: bytes) -> str:
    """What to keep of a password. `salt`: SALT_BYTES random ones."""
    return _text(password, salt, _NOW)


def matches(password: str, kept: str) -> bool:
    """Whether the kept hash is the password's; false for what is no hash."""
    parts = _FORM.fullmatch(kept)
    if parts is None or len(password) > MOST_CHARS:
        return False
    log_n, r, p = (int(parts[number]) for number in (1, 2, 3))
    if log_n > 20 or r > 16 or p > 16:
        return False
    own = _text(password, base64.b64decode(parts[4]), (log_n, r, p))
    return hmac.compare_digest(own, kept)


def _text(password: str, salt: bytes, costs: tuple[int, int, int]) -> str:
    log_n, r, p = costs
    n = 1 << log_n
    normal = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    room = 128 * r * (n + p + 2)
    key = hashlib.scrypt(normal, salt=salt, n=n, r=r, p=p, maxmem=room, dklen=_KEY_BYTES)
    told = (base64.b64encode(part).decode("ascii") for part in (salt, key))
    return "$".join(("scrypt", str(log_n), str(r), str(p), *told))
