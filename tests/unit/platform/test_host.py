"""What a host refuses to be built of."""

import pytest

import isthmus.platform.engine
import isthmus.platform.tools
from isthmus.platform.host import load_tools


def test_tools_are_found_by_their_modules_names() -> None:
    tools = load_tools(isthmus.platform.tools)
    assert list(tools) == sorted(tools)
    assert all(name == tool.name for name, tool in tools.items())


def test_a_package_of_something_else_is_refused() -> None:
    with pytest.raises((ImportError, TypeError)):
        load_tools(isthmus.platform.engine)
