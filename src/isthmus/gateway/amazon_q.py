"""Amazon Q: who may use it, and that it is not built."""

from typing import NoReturn

from isthmus.auth.scopes import require
from isthmus.core.errors import NotBuilt
from isthmus.core.identity import Caller

SCOPE = "amazon_q_integration"


def refuse(caller: Caller) -> NoReturn:
    """Raises Forbidden to those who may not use it, NotBuilt to those who may."""
    require(caller, (SCOPE,), "Unauthorized to perform action")
    raise NotBuilt("This server has no Amazon Q integration; GitLab's own gateway has one.")
