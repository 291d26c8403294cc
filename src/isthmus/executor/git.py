"""Git as a source of facts about a workspace: what it tracks, ignores and contains.

The workspace's own configuration is not trusted to start programs.
"""

import shutil
from collections.abc import Mapping, Sequence

from isthmus.core.errors import ToolRefused
from isthmus.executor.process import Bounds, Finished, run
from isthmus.executor.workspace import Workspace

TIMEOUT_S = 30.0
LIST_LIMIT_BYTES = 16 * 1024 * 1024

_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.pager=cat")
_QUIET = {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C.UTF-8"}


class Git:
    """Read-only questions to git. `environment` is already scrubbed."""

    def __init__(self, workspace: Workspace, environment: Mapping[str, str]) -> None:
        self._workspace = workspace
        self._environment = {
            name: value for name, value in environment.items() if not name.startswith("GIT_")
        } | _QUIET
        self._program = shutil.which("git", path=environment.get("PATH"))

    @property
    def installed(self) -> bool:
        """Whether there is a git to ask."""
        return self._program is not None

    async def ask(self, *arguments: str, stdin: bytes = b"") -> Finished | None:
        """Run a git command in the workspace. None when there is no git, or it took too long."""
        if self._program is None:
            return None
        finished = await run(
            (self._program, *_SAFE, *arguments),
            self._workspace.root,
            self._environment,
            Bounds(TIMEOUT_S, LIST_LIMIT_BYTES, errors=False),
            stdin,
        )
        return None if finished.code is None else finished

    async def files(self) -> list[str] | None:
        """Tracked files, and new ones that are not ignored; None when this is no repository."""
        wanted = ("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
        found = await self.ask(*wanted)
        if found is None or found.code != 0:
            return None
        return [name.decode("utf-8", "surrogateescape") for name in found.output.split(b"\0")][:-1]

    async def ignored(self, paths: Sequence[str]) -> frozenset[str]:
        """Those of `paths` (relative to the root) that git ignores; none outside a repository."""
        if not paths:
            return frozenset()
        stdin = b"".join(path.encode("utf-8", "surrogateescape") + b"\0" for path in paths)
        found = await self.ask("check-ignore", "-z", "--stdin", stdin=stdin)
        if found is None or found.code != 0:
            return frozenset()
        return frozenset(
            name.decode("utf-8", "surrogateescape") for name in found.output.split(b"\0") if name
        )

    async def require_visible(self, path: str) -> None:
        """Raises ToolRefused when git ignores the path: what is not shared is not shown."""
        name = "/".join(self._workspace.parts(path))
        if name and await self.ignored([name]):
            raise ToolRefused(f"Access denied: {path} is ignored by git.")
