"""Every tool of this server: those with logic of their own, and those that are data."""

from importlib.resources import files
from pathlib import Path

import isthmus.platform.tools
from isthmus.platform import declared
from isthmus.platform.host import load_tools
from isthmus.platform.tool import Tool

FOLDER = Path(str(files("isthmus"))) / "library" / "tools"


def all_tools() -> dict[str, Tool]:
    """The tools by name. Blocking: files are read. Raises ValueError when a file is wrong."""
    written, data = load_tools(isthmus.platform.tools), declared.load(FOLDER)
    if twice := sorted(written.keys() & data.keys()):
        raise ValueError(f"the tool {twice[0]!r} is both a module and a declaration")
    return dict(sorted((written | data).items()))
