"""runMCPTool: refused; this executor offers no MCP tools."""

from isthmus.contract.contract_pb2 import RunMCPTool
from isthmus.core.errors import ToolRefused
from isthmus.executor.action import ActionKind, Machine


async def run(message: RunMCPTool, machine: Machine) -> str:
    """Refuse. The start request names no MCP tool."""
    del message, machine
    raise ToolRefused("This executor has no MCP servers.")


ACTION = ActionKind(field="runMCPTool", effect="run", run=run)
