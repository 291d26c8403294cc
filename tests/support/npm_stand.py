"""What the npm clients are tried against: the real server, a scripted vendor, a project."""

import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.npm import Account
from tests.support.process import RunningServer, running_server, start
from tests.support.scripted_upstream import Script, Upstream
from tests.support.upstream_wires import Call

NUMBERS = " ".join(str(number) for number in range(400))
MEND: Script = [
    [Call("read_file", {"file_path": "README.md"})],
    [Call("edit_file", {"file_path": "README.md", "old_str": "Demo", "new_str": "Mended"})],
    [Call("run_command", {"command": "git status --short > status.txt"})],
    "I mended the title.",
]
SCRIPTS: Mapping[str, Script] = {
    "[hello]": ["Hello from the vendor."],
    "[again]": ["Hello once more."],
    "[long]": [NUMBERS],
    "[weather]": [[Call("weather", {"city": "Oslo"})], "Four degrees in Oslo."],
    "[mend]": MEND,
    "Correct the title": MEND,
    "[retitle]": [*MEND[:2], "Now it is mended."],
    "[look]": [[Call("read", {"filePath": "README.md"})], "I looked at a demo."],
}
"""What the vendor plays, by what prompts hold."""


@dataclass(frozen=True)
class Stand:
    """The started server, and the vendor that it calls."""

    server: RunningServer
    upstream: Upstream
    account: Account

    def again(self) -> None:
        """Kill the server without warning, and start it with the same data and ports."""
        self.server.stop(signal.SIGKILL)
        start(self.server)

    def repository(self, place: Path) -> Path:
        """A repository with one commit, whose origin is the project `team/demo` of the server."""
        place.mkdir()
        (place / "README.md").write_text("# Demo\n\nA small project.\n")
        git = ("git", "-C", str(place), "-c", "user.name=n", "-c", "user.email=e@example.test")
        for arguments in (
            ("init", "-q"),
            ("remote", "add", "origin", f"{self.server.url}/team/demo.git"),
            ("add", "-A"),
            ("commit", "-qm", "first"),
        ):
            subprocess.run([*git, *arguments], check=True)
        return place


@contextmanager
def standing(folder: Path, upstream: Upstream) -> Iterator[Stand]:
    """The server with its data in `folder`, and an account in it."""
    with running_server(folder, upstream.settings()) as server:
        made = server.command("tokens", "create", "--name", "npm")
        assert made.returncode == 0, made.stderr
        yield Stand(server, upstream, Account(server.url, made.stdout.split()[-1]))
