"""docs/guide/tls.md as a person follows it: its blocks, and what its commands leave behind."""

import re
import shutil
import subprocess
from pathlib import Path

from tests.support.proxies import COMPOSE

PAGE = COMPOSE.parents[1] / "docs" / "guide" / "tls.md"
NAME = "isthmus.example.com"


def blocks(kind: str) -> list[str]:
    """The blocks of a kind, in order."""
    text = PAGE.read_text(encoding="utf-8")
    found: list[str] = re.findall(rf"^ *```{kind}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return found


def block(kind: str, holding: str) -> str:
    """The one block of a kind that holds these words."""
    (found,) = (each for each in blocks(kind) if holding in each)
    return found


def folder(parent: Path) -> Path:
    """A copy of deploy/compose, in which the page's commands may do what they do."""
    made = parent / "compose"
    shutil.copytree(COMPOSE, made, ignore=shutil.ignore_patterns("secrets", "tls", ".env", "*.env"))
    return made


def follow(script: str, place: Path, name: str = NAME) -> str:
    """Run a block there, for a server of this name; what it printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace(NAME, name)],
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def certificates(place: Path, name: str) -> Path:
    """What the page's commands make in `tls/`: `ca.crt`, `server.crt` and `server.key`."""
    (place / "tls").mkdir(exist_ok=True)
    follow(block("sh", "openssl x509"), place, name)
    return place / "tls"
