"""Every tool of this server: those with logic of their own, and those that are data."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

import isthmus.platform.tools
from isthmus.core.page import Passage
from isthmus.core.ports import Search
from isthmus.platform import declared, documentation
from isthmus.platform.host import load_tools
from isthmus.platform.tool import Tool
from isthmus.platform.versions import at_least

FOLDER = Path(str(files("isthmus"))) / "library" / "tools"


class Nothing:
    """A search that finds nothing: for listings, which never run a tool."""

    async def find(self, query: str, limit: int) -> Sequence[Passage]:
        """None."""
        del query, limit
        return ()


@cache
def _bundled() -> Mapping[str, Tool]:
    written, data = load_tools(isthmus.platform.tools), declared.load(FOLDER)
    if twice := sorted(written.keys() & data.keys()):
        raise ValueError(f"the tool {twice[0]!r} is both a module and a declaration")
    return written | data


def all_tools(search: Search | None = None) -> dict[str, Tool]:
    """The tools by name. Blocking: files are read. Raises ValueError when a file is wrong."""
    asks = documentation.tool_over(search or Nothing())
    return dict(sorted({**_bundled(), asks.name: asks}.items()))


def published(tools: Mapping[str, Tool]) -> Iterator[Tool]:
    """The tools that listings name: those below version 1.0.0 may still change."""
    return (tool for tool in tools.values() if at_least(tool.version, (1, 0, 0)))
