"""The start request as the platform gets it: capabilities that client, server and relay share.

Pure. Source: instance contract, section 3.5.
"""

from collections.abc import Collection, Iterable
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
    known = [*_known(start.clientCapabilities, OF_CLIENTS), *_known(server, OF_SERVERS)]
    start.ClearField("clientCapabilities")
    start.clientCapabilities.extend(dict.fromkeys(known))


def _known(named: Iterable[str], known: Collection[str]) -> list[str]:
    return [name for name in named if name in known]
