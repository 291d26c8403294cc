"""OpenCode from npm, unmodified: chat, and sessions that change a repository."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.support.npm import Clients, heard, said
from tests.support.npm_stand import Stand
from tests.support.process import PROGRAM

CHAT = "gitlab/duo-chat-sonnet-4-5"
WORKFLOW = "gitlab/duo-workflow-sonnet-4-6"
ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guide"
USUAL = "http://127.0.0.1:5052"


def by_environment(stand: Stand) -> dict[str, str]:
    """Variables alone: workflow models are discovered, by the credential and the git remote."""
    url, token = stand.account.url, stand.account.token
    return {
        "GITLAB_TOKEN": token,
        "GITLAB_INSTANCE_URL": url,
        "GITLAB_AI_GATEWAY_URL": url,
        "OPENCODE_AUTH_CONTENT": json.dumps({"gitlab": {"type": "api", "key": token}}),
    }


def test_i7_58_a_chat_reads_a_file_twice_in_a_row(
    clients: Clients, stand: Stand, repository: Path
) -> None:
    for _ in range(2):
        before = len(stand.upstream.asked)
        parts = heard(
            clients.opencode(repository, by_environment(stand), "-m", CHAT, "Have a [look]")
        )
        assert said(parts).endswith("I looked at a demo.")
        (used,) = (part["part"] for part in parts if part["type"] == "tool_use")
        assert used["tool"] == "read"
        assert "A small project." in used["state"]["output"]
        models = {one.model for one in stand.upstream.asked[before:]}
        assert models == {"claude-sonnet-4-5-20250929", "gpt-5.4-nano"}


def mended_by(stand: Stand, repository: Path, run: Callable[[], str]) -> None:
    """Run twice, the server killed in between: each time the whole session did its work."""
    for last in (False, True):
        (repository / "README.md").write_text("# Demo\n\nA small project.\n")
        (repository / "status.txt").unlink(missing_ok=True)
        told = run()
        assert "I mended the title." in told
        assert (repository / "README.md").read_text().startswith("# Mended"), told
        assert "README.md" in (repository / "status.txt").read_text()
        if not last:
            stand.again()


def test_i7_58_a_discovered_model_reads_edits_and_runs_by_itself(
    clients: Clients, stand: Stand, repository: Path
) -> None:
    def run() -> str:
        arguments = ("--auto", "-m", WORKFLOW, "Please [mend] it")
        return said(heard(clients.opencode(repository, by_environment(stand), *arguments)))

    mended_by(stand, repository, run)


def test_i7_58_what_nobody_allowed_is_not_done(
    clients: Clients, stand: Stand, repository: Path
) -> None:
    parts = heard(
        clients.opencode(repository, by_environment(stand), "-m", WORKFLOW, "Please [mend] it")
    )
    assert said(parts).endswith("I mended the title.")
    assert (repository / "README.md").read_text().startswith("# Demo")
    assert not (repository / "status.txt").exists()


def test_i7_58_a_declared_model_does_by_the_guides_commands_as_pasted(
    clients: Clients, stand: Stand, repository: Path, tmp_path: Path
) -> None:
    guide = (GUIDE / "opencode.md").read_text()
    found = re.search(r"```sh\n(make install.*?)```", guide, re.DOTALL)
    assert found
    assert found.group() in (ROOT / "README.md").read_text()
    # A server runs already, and OpenCode is installed.
    start, install, *pasted = found.group(1).splitlines()
    assert start == "make install && (make run &)"
    assert install.endswith(f"opencode-ai@{clients.version('opencode-ai')}")
    clone, neighbour = tmp_path / "clone", tmp_path / "your-repository"
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "isthmus").symlink_to(PROGRAM)
    shutil.copytree(GUIDE, clone / "docs" / "guide")
    config = clone / "docs" / "guide" / "opencode.json"
    config.write_text(config.read_text().replace(USUAL, stand.account.url))
    repository.rename(neighbour)

    def run() -> str:
        done = clients.shell("\n".join(pasted), clone, stand.server.environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    mended_by(stand, neighbour, run)
