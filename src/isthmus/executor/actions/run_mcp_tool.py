"""runMCPTool: a tool of an MCP server that the person configured."""

from isthmus.contract.contract_pb2 import RunMCPTool
from isthmus.core.errors import ToolRefused
from isthmus.executor.action import ActionKind, Machine


async def run(message: RunMCPTool, machine: Machine) -> str:
    """What the tool says."""
    tools = machine.lent.tools
    if tools is None:
        raise ToolRefused("This executor has no MCP servers.")
    return await tools.call(message.name, message.args)


ACTION = ActionKind(field="runMCPTool", effect="run", run=run)
