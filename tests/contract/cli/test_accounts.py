"""`isthmus users | projects | tokens | flags` on a real database, as a person types them."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from pydantic import SecretStr

from isthmus.app.foundation import SystemClock
from isthmus.app.stores import Stores, open_stores
from isthmus.auth.password import matches
from isthmus.cli.main import main
from isthmus.core.accounts import SCOPES, User
from isthmus.core.errors import Unauthenticated
from isthmus.core.flags import STICKINESS
from isthmus.instance.accounts import Accounts
from isthmus.instance.flags import Flags
from isthmus.settings import DatabaseSettings, Settings

T = TypeVar("T")


@dataclass
class Shell:
    """A terminal in an empty folder."""

    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch
    settings: Settings

    def run(self, line: str, typed: str = "") -> str:
        """What a command prints; it must succeed, and say nothing else."""
        code, out, err = self.tried(line, typed)
        assert (code, err) == (0, ""), err
        return out

    def refused(self, line: str, typed: str = "") -> str:
        """Why a command did not do it: exit 2, and nothing on standard output."""
        code, out, err = self.tried(line, typed)
        assert (code, out) == (2, "")
        assert "Traceback" not in err
        return err.strip()

    def tried(self, line: str, typed: str = "") -> tuple[int, str, str]:
        self.monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        code = main(line.split())
        out, err = self.capsys.readouterr()
        return code, out, err

    def look(self, seen: Callable[[Stores], Awaitable[T]]) -> T:
        """What the stores say."""

        async def looked() -> T:
            async with open_stores(self.settings, SystemClock()) as stores:
                return await seen(stores)

        return asyncio.run(looked())

    def user(self, name: str = "local") -> User:
        return self.look(lambda stores: stores.users.find(username=name))


@pytest.fixture(name="shell")
def _shell(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Shell:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path / 'isthmus.db'}"
    monkeypatch.setenv("ISTHMUS_DATABASE__URL", url)
    return Shell(capsys, monkeypatch, Settings(database=DatabaseSettings(url=SecretStr(url))))


def member(shell: Shell, token: str) -> tuple[str, frozenset[str]]:
    async def seen(stores: Stores) -> tuple[str, frozenset[str]]:
        found = await Accounts(stores.users, stores.tokens, SystemClock()).member(token)
        return found.user.username, found.token.scopes

    return shell.look(seen)


def test_a_token_alone_is_printed_and_lets_its_user_in(shell: Shell) -> None:
    token = shell.run("tokens create").strip()
    assert token.startswith("glpat-")
    assert len(token.split()) == 1
    assert member(shell, token) == ("local", frozenset({"api"}))
    everything = " ".join(sorted(SCOPES))
    wide = shell.run(f"tokens create --name ci --ttl 30 --scope {everything}").strip()
    assert member(shell, wide) == ("local", SCOPES)
    listed = shell.run("tokens list")
    assert token not in listed
    assert wide not in listed
    first, second = (line.split() for line in listed.splitlines()[1:])
    assert first[-1] == "never"
    assert second[1] == "ci"
    assert shell.run(f"tokens revoke {second[0]}") == f"Token {second[0]} is revoked.\n"
    with pytest.raises(Unauthenticated):
        member(shell, wide)
    assert member(shell, token)[0] == "local"


def test_tokens_of_others_are_not_touched(shell: Shell) -> None:
    shell.run("users add ada")
    shell.run("tokens create --user ada")
    [row] = shell.run("tokens list --user ada").splitlines()[1:]
    number = row.split()[0]
    assert f"has no token {number}" in shell.refused(f"tokens revoke {number}")
    shell.run(f"tokens revoke {number} --user ada")
    assert shell.run("tokens list --user ada").splitlines()[1:] == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("tokens create --scope sudo", "--scope 'sudo' is not known"),
        ("tokens create --ttl 0", "--ttl must be from 1"),
        ("tokens create --ttl 99999", "--ttl must be from 1"),
        ("tokens create --user nobody", "there is no user 'nobody'"),
        (f"tokens create --name {'a' * 256}", "--name must have at most"),
        ("tokens list --user nobody", "there is no user 'nobody'"),
        ("tokens revoke 7", "has no token 7"),
        ("users add a/b", "username must not contain '/'"),
        ("users add LOCAL", "'LOCAL': The username"),
        ("users add 12", "username"),
        ("users password nobody", "there is no user 'nobody'"),
        ("users disable nobody", "there is no user 'nobody'"),
        ("projects add alone", "GROUP/PROJECT"),
        ("projects add ../etc", "must be made of letters"),
        ("projects add g/p --user nobody", "there is no user 'nobody'"),
        ("projects join nowhere --user local", "there is no group or project 'nowhere'"),
        ("projects join local --user local", "only groups have members"),
        ("flags set nothing on", "there is no flag 'nothing'"),
        ("flags set duo_workflow off --user local", "is on for everybody"),
        (f"flags set {STICKINESS} on --user nobody", "there is no user 'nobody'"),
        (f"flags set {STICKINESS} on --namespace nowhere", "there is no namespace 'nowhere'"),
    ],
)
def test_a_command_says_what_is_wrong(shell: Shell, line: str, reason: str) -> None:
    told = shell.refused(line)
    assert told.startswith(f"isthmus {' '.join(line.split()[:2])}: ")
    assert reason in told


def test_accounts_are_made_listed_and_disabled(shell: Shell) -> None:
    assert shell.run("users add ada --name Ada --email ada@test --admin").startswith("User ada")
    user = shell.user("ada")
    assert (user.name, user.email, user.admin, user.active) == ("Ada", "ada@test", True, True)
    token = shell.run("tokens create --user ada").strip()
    assert shell.run("users disable Ada") == "User ada is disabled.\n"
    with pytest.raises(Unauthenticated):
        member(shell, token)
    assert "is disabled" in shell.refused("tokens create --user ada")
    assert "disabled" in shell.run("users list").splitlines()[2]
    shell.run("users enable ada")
    assert member(shell, token)[0] == "ada"


def test_a_password_is_read_and_kept_as_a_hash(shell: Shell) -> None:
    assert shell.run("users password local", "correct horse\n") == ""
    kept = shell.user().password
    assert "horse" not in kept
    assert matches("correct horse", kept)
    for typed in ("", "short\n", "a" * 300):
        assert "a password has" in shell.refused("users password local", typed)
    assert shell.user().password == kept
    assert shell.run("users list").splitlines()[1].endswith("yes")


def test_projects_bring_their_groups_and_members(shell: Shell) -> None:
    shell.run("users add ada")
    shell.run("projects add team/sub/app --user ada --description words")
    shell.run("projects add local/own")
    assert "team/sub/app" in shell.run("projects list --user ada")
    assert "own" not in shell.run("projects list --user ada")
    assert "team/sub/app" not in shell.run("projects list --user local")
    shell.run("projects join team/sub/app --user local")
    assert "team/sub/app" in shell.run("projects list --user local")
    shell.run("projects join team/sub --user local --leave")
    assert "team/sub/app" not in shell.run("projects list --user local")
    assert "'TEAM/sub/App': " in shell.refused("projects add TEAM/sub/App")
    assert len(shell.run("projects list").splitlines()) == 3


def test_flags_are_set_for_all_for_one_and_for_none(shell: Shell) -> None:
    shell.run("projects add team/sub/app")

    def on() -> bool:
        async def seen(stores: Stores) -> bool:
            user = await stores.users.find(username="local")
            return await Flags(stores.flags).on(STICKINESS, user=user)

        return shell.look(seen)

    assert on() is False
    for options in ("", " --user local"):
        assert shell.run(f"flags set {STICKINESS} on{options}").startswith(f"{STICKINESS} is on")
        assert on() is True
        shell.run(f"flags set {STICKINESS} off{options}")
        assert on() is False
    shell.run(f"flags set {STICKINESS} on --namespace team")
    assert on() is False
    [row] = [line for line in shell.run("flags list").splitlines() if STICKINESS in line]
    assert row.split() == [STICKINESS, "off", "team"]
    told = shell.refused(f"flags set {STICKINESS} on --namespace team/sub")
    assert "topmost" in told


def test_a_database_that_cannot_be_opened_is_named(shell: Shell) -> None:
    shell.monkeypatch.setenv("ISTHMUS_DATABASE__URL", "postgresql://127.0.0.1:1/none")
    assert "database.url" in shell.refused("users list")
