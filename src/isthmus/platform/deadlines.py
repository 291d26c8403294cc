"""How long a client may take for an action, by what it does. Pure."""

from typing import Final

from isthmus.settings import PlatformSettings

_RUNS: Final = frozenset({"runCommand", "runShellCommand", "runGitCommand", "runMCPTool"})
"""Actions that run something; what that takes is not the client's to say."""


def action_s(kind: str, settings: PlatformSettings) -> float:
    """The limit of one action; `kind` is the contract's oneof name."""
    if kind in _RUNS:
        return settings.action_s
    return min(settings.action_s, settings.quick_action_s)
