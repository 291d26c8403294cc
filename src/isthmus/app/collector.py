"""How often Python's collector of cycles looks, and at what."""

import gc
from collections.abc import Iterable
from typing import Final

_GATEWAY: Final = (10_000, 10, 10)
"""Objects between two looks at the young ones, and looks between two at older ones."""
_SESSIONS: Final = (10_000, 2, 3)


def spare_the_collector(transports: Iterable[str]) -> None:
    """What was built lives as long as the process: the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    # Requests leave no cycles behind; looking for some after every 700 objects is for nothing.
    # Sessions do, some 200 objects each: the old ones are looked at often enough for that.
    gc.set_threshold(*(_SESSIONS if "grpc" in transports else _GATEWAY))
