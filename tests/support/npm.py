"""The published npm clients, installed once by their lock file, and how tests run them."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

from tests.support.servers import Missing

SOURCES = Path(__file__).resolve().parents[1] / "e2e" / "npm"
INSTALLED = Path(__file__).resolve().parents[2] / ".npm-clients"
INSTALL_S = 300.0
RUN_S = 300.0
"""Long enough for a machine that does ten things at once."""
Fact: TypeAlias = dict[str, Any]


def install() -> Path | Missing:
    """The folder with `node_modules` and our drivers; packages are fetched once a lock file."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return Missing("no npm or node is installed: the npm clients cannot be tried")
    lock = (SOURCES / "package-lock.json").read_bytes()
    place = INSTALLED / hashlib.sha256(lock).hexdigest()[:16]
    if not (place / "node_modules").is_dir():
        INSTALLED.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=INSTALLED, ignore_cleanup_errors=True) as name:
            _fetch(npm, Path(name))
            # Whoever else installs at the same time makes the same folder.
            if not place.exists():
                Path(name).rename(place)
    for driver in SOURCES.glob("*.mjs"):
        shutil.copy(driver, place / driver.name)
    return place


def _fetch(npm: str, place: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCES / name, place / name)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(
        command, cwd=place, capture_output=True, text=True, timeout=INSTALL_S, check=False
    )
    if done.returncode:
        raise AssertionError(f"npm ci failed: {done.stderr[-2000:]}")
    # The one install script that we want, by name: it puts the program where its wrapper looks.
    subprocess.run(
        ["node", "postinstall.mjs"],
        cwd=place / "node_modules" / "opencode-ai",
        capture_output=True,
        timeout=INSTALL_S,
        check=True,
    )


@dataclass(frozen=True)
class Account:
    """Where a client goes, and as whom."""

    url: str
    token: str


@dataclass(frozen=True)
class Clients:
    """The installed clients; each run has a home folder of its own below `scratch`."""

    place: Path
    scratch: Path

    def drive(self, driver: str, account: Account, **plan: object) -> list[Fact]:
        """Run a driver to its end: what it told, line by line."""
        with self.driving(driver, account, **plan) as run:
            return run.finish()

    @contextmanager
    def driving(self, driver: str, account: Account, **plan: object) -> Iterator["Driver"]:
        """A driver that waits for us between its turns."""
        whole = {"instance": account.url, "token": account.token} | plan
        with subprocess.Popen(
            ["node", f"{driver}.mjs", json.dumps(whole)],
            cwd=self.place,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield Driver(process)
            finally:
                process.kill()

    def opencode(
        self, folder: Path, environment: Mapping[str, str], *arguments: str
    ) -> "subprocess.CompletedProcess[str]":
        """`opencode run` in a folder, its answer as JSON lines."""
        return self._run(["opencode", "run", "--format", "json", *arguments], folder, environment)

    def shell(
        self, script: str, folder: Path, environment: Mapping[str, str]
    ) -> "subprocess.CompletedProcess[str]":
        """A script of a person's who has the clients installed."""
        return self._run(["bash", "-c", script], folder, environment)

    def version(self, package: str) -> str:
        """The installed version."""
        told = (self.place / "node_modules" / package / "package.json").read_text()
        return str(json.loads(told)["version"])

    def _run(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> "subprocess.CompletedProcess[str]":
        own = self._environment()
        path = f"{self.place / 'node_modules' / '.bin'}:{own['PATH']}"
        return subprocess.run(
            command,
            cwd=folder,
            env=dict(environment) | own | OFFLINE | {"PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
        )

    def _environment(self) -> dict[str, str]:
        home = tempfile.mkdtemp(dir=self.scratch)
        kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
        return kept | {"HOME": home, "GIT_CONFIG_GLOBAL": "/dev/null"}


OFFLINE = {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"} | {
    f"OPENCODE_DISABLE_{name}": "1"
    for name in ("MODELS_FETCH", "AUTOUPDATE", "LSP_DOWNLOAD", "SHARE")
}


class Driver:
    """A running driver: facts come in, lines go out."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def turn(self) -> Fact:
        """What it tells at the end of its next turn."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            fact = cast("Fact", json.loads(line))
            if "turn" in fact:
                return fact
        raise AssertionError(f"it told no more: {self._errors()}")

    def go_on(self) -> None:
        """Let it begin its next turn."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def finish(self) -> list[Fact]:
        """Wait for its end, which has to be a good one."""
        try:
            out, errors = self._process.communicate(timeout=RUN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            out, errors = self._process.communicate()
            raise AssertionError(f"it hung: {out}\n{errors}") from None
        assert self._process.returncode == 0, f"{out}\n{errors}"
        return [cast("Fact", json.loads(line)) for line in out.splitlines()]

    def _errors(self) -> str:
        self._process.kill()
        return self._process.communicate()[1]


def turns(facts: Sequence[Fact]) -> list[Fact]:
    """Those facts that tell a whole turn."""
    return [fact for fact in facts if "turn" in fact]


def heard(run: "subprocess.CompletedProcess[str]") -> list[Fact]:
    """What OpenCode told, part by part."""
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    lines = [line for line in run.stdout.splitlines() if line.startswith("{")]
    return [cast("Fact", json.loads(line)) for line in lines]


def said(facts: Sequence[Fact]) -> str:
    """The text among OpenCode's parts."""
    return "".join(str(fact["part"]["text"]) for fact in facts if fact["type"] == "text")
