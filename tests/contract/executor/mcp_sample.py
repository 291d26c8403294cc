"""A small MCP server: over its pipes, or with a port over HTTP."""

import os
import sys

from mcp.server import MCPServer

server = MCPServer("sample")


@server.tool()
def shout(text: str) -> str:
    """Says it louder."""
    return text.upper()


@server.tool()
def variable(name: str) -> str:
    """A variable of the server's environment."""
    return os.environ.get(name, "unset")


@server.tool()
def fail() -> str:
    """Does not work."""
    raise ValueError("it broke")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run()
