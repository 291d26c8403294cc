"""Names that nobody else has, for what is told apart and never kept secret."""

from random import getrandbits

_VERSION, _VARIANT = 0x4 << 76, 0x2 << 62
_OTHERS = (1 << 128) - 1 & ~(0xF << 76 | 0x3 << 62)


def new_id() -> str:
    """A UUID of version 4 as text.

    Ten times as fast as `uuid4`, whose call to the system lets go of the interpreter's lock each
    time. Who has seen many of them can tell the next: it is a name, and no secret.
    """
    digits = f"{getrandbits(128) & _OTHERS | _VERSION | _VARIANT:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
