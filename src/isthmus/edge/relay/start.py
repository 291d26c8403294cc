"""The start request as the platform gets it: capabilities that client, server and relay share.

Pure. Source: instance contract, section 3.5.
"""

from collections.abc import Iterable
from typing import Final

from isthmus.contract.contract_pb2 import StartWorkflowRequest

OF_CLIENTS: Final = frozenset(
    {
        "incremental_streaming",
        "shell_command",
        "read_file_chunked",
        "command_timeout",
        "web_search",
        "tool_call_streaming",
        "schedule_notification",
        "grep_fixed_strings",
        "read_file_image",
        "auto_mode",
    }
)
OF_OURS: Final = ("action_memory=", "start_id=")
"""With a name behind them: what clients of ours say of themselves, and of this message."""
OF_SERVERS: Final = frozenset(
    {
        "advanced_search",
        "tool_call_approval",
        "tool_call_pattern_approval",
        "job_trace_pagination",
        "incremental_checkpoints",
        "incremental_checkpoints_only",
    }
)


def rewrite(start: StartWorkflowRequest, server: Iterable[str]) -> None:
    """Leave the client the capabilities that are known, in its order, and append the server's."""
    own = [
        name for name in start.clientCapabilities if name in OF_CLIENTS or name.startswith(OF_OURS)
    ]
    known = [*own, *(name for name in server if name in OF_SERVERS)]
    start.ClearField("clientCapabilities")
    start.clientCapabilities.extend(dict.fromkeys(known))
