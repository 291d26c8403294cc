"""Which git commands the agent may ask for by runGitCommand: pure.

Git can start any program through its options, aliases and transports; what may do so is refused.
"""

import re
import shlex

from isthmus.core.errors import ToolRefused

REMOTE = frozenset({"clone", "fetch", "ls-remote", "pull", "push"})
"""Commands that speak to a server, and so need a login."""
COMMANDS = REMOTE | {
    "add", "apply", "blame", "branch", "cat-file", "checkout", "cherry-pick", "clean", "commit",
    "describe", "diff", "grep", "init", "log", "ls-files", "ls-tree", "merge", "merge-base", "mv",
    "rebase", "reflog", "remote", "reset", "restore", "rev-list", "rev-parse", "revert", "rm",
    "shortlog", "show", "show-ref", "stash", "status", "switch", "tag", "worktree",
}  # fmt: skip
"""Git's own commands: an alias cannot take their place."""

_UNSAFE = (
    "-c", "-C", "--config", "--config-env", "--exec", "--exec-path", "--ext-diff", "--git-dir",
    "--namespace", "--no-index", "--open-files-in-pager", "--output", "--receive-pack",
    "--recurse-submodules", "--separate-git-dir", "--server-option", "--template", "--textconv",
    "--upload-pack", "--work-tree", "--super-prefix", "--interactive", "--contents", "--file",
)  # fmt: skip
_UNSAFE_BY_COMMAND = {
    "grep": ("-O", "-f"),
    "clone": ("-u",),
    "ls-remote": ("-u",),
    "rebase": ("-x", "-i"),
    "commit": ("-F", "-t"),
    "tag": ("-F",),
    "merge": ("-F",),
    "blame": ("-S",),
}
_HARMLESS = {
    "blame": ("-C",),
    "branch": ("-c", "-C"),
    "commit": ("-c", "-C"),
    "diff": ("-C",),
    "log": ("-c", "-C"),
    "show": ("-c", "-C"),
    "switch": ("-c", "-C"),
}
_TRANSPORT = re.compile(r"[A-Za-z0-9+.-]+::")


def git_words(command: str, arguments: str) -> list[str]:
    """The command and its arguments as words. Raises ToolRefused when they are not safe."""
    if command not in COMMANDS:
        raise ToolRefused(f"git {command[:40]!r} is not available here.")
    if "\0" in arguments:
        raise ToolRefused("The arguments contain NUL characters.")
    try:
        words = shlex.split(arguments)
    except ValueError as error:
        raise ToolRefused("The arguments hold an unbalanced quote.") from error
    for word in words:
        if word == "--":
            break
        if _unsafe(command, word):
            raise ToolRefused(f"Unsafe git option: {word[:80]}")
    if any(_TRANSPORT.match(word) for word in words):
        raise ToolRefused("This kind of remote is not allowed.")
    return [command, *words]


def _unsafe(command: str, word: str) -> bool:
    name = word.partition("=")[0]
    if name.startswith("--") and len(name) > 2:
        # Git takes every unambiguous beginning of a long option for the whole.
        return any(option.startswith(name) or name == option for option in _UNSAFE)
    if not name.startswith("-") or name == "-":
        return False
    if name[:2] in _HARMLESS.get(command, ()):
        return False
    return name[:2] in (*_UNSAFE, *_UNSAFE_BY_COMMAND.get(command, ()))
