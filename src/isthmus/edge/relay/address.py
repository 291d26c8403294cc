"""Where an HTTP action may go: below our own `/api`, and to nothing that it could mistake for it.

Pure. A path that may not be asked for is answered as one that does not exist; one that cannot be
read at all is the platform's fault, and ends the session. Source: instance contract, section 3.5.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from isthmus.core.errors import Invalid, NotFound

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
TARGET_LIMIT_CHARS: Final = 8_192
ROOT: Final = "/api/"
CLOSED: Final = ("/api/v4/ai/duo_workflows/ws", "/api/v4/ai/duo_workflows/execute")
"""Sessions start no sessions by themselves."""
_TARGET = re.compile(r"[\x21-\x7e]+")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True, slots=True)
class Target:
    """A method, a path as sent and as decoded, and a query."""

    method: str
    raw_path: str
    path: str
    query: str

    @property
    def whole(self) -> str:
        """Path and query as sent."""
        return f"{self.raw_path}?{self.query}" if self.query else self.raw_path


def target_of(method: str, text: str) -> Target:
    """Raises Invalid for what is no request at all, NotFound for a path that is closed."""
    if method.upper() not in METHODS:
        raise Invalid("runHTTPRequest: unknown method")
    if len(text) > TARGET_LIMIT_CHARS or not _TARGET.fullmatch(text):
        raise Invalid("runHTTPRequest: the path cannot be sent")
    raw_path, _, query = text.partition("?")
    raw_path = raw_path if raw_path.startswith("/") else f"/{raw_path}"
    path = unquote(raw_path)
    segments = path.split("/")
    known = path.startswith(ROOT) and not path.rstrip("/").startswith(CLOSED)
    # Whoever decodes once more must not find another path in it: dots are looked for in both.
    twice = unquote(path).replace("\\", "/").split("/")
    dots = not {".", ".."}.isdisjoint((*segments, *twice))
    if not known or dots or "#" in text or "" in segments[1:-1] or _FORBIDDEN.search(path):
        raise NotFound("404 Not Found")
    return Target(method.upper(), raw_path, path, query)
