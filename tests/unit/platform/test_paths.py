"""Paths that tools may and may not touch."""

import pytest

from isthmus.platform.paths import denied, refusal, traverses


@pytest.mark.parametrize(
    "path",
    [
        *(
            ".env",
            "a/.env",
            ".ENV",
            ".env.local",
            "./.env",
            ".env/",
            ".env ",
            ".env.",
            ".env::$DATA",
        ),
        *(".git", ".git/config", "sub\\.git\\config", ".ssh/id_rsa", "x/.docker/config.json"),
        *(".config/nvim/init.lua", ".gitlab/duo/x", ".gitlab/rules", "Dockerfile.secrets"),
        *(".gitlab//duo/mcp.json", ".gitlab/./duo/mcp.json"),
    ],
)
def test_protected_paths_are_refused(path: str) -> None:
    assert denied(path)
    assert refusal(path, reading=True)
    assert refusal(path, reading=False)


@pytest.mark.parametrize(
    "path",
    [
        *("a.py", ".", "src/app.py", ".env.example", ".gitignore", ".github/x", "environment"),
        *(".gitlab/ci.yml", ".gitlab-ci.yml", ".config/other", "a..b", "...", "docs/v1..v2.md"),
    ],
)
def test_ordinary_paths_are_fine(path: str) -> None:
    assert refusal(path, reading=True) == ""
    assert refusal(path, reading=False) == ""


@pytest.mark.parametrize(
    "path",
    ["../x", "a/../b", "..", "a/..", "..\\x", "%2e%2e/x", "%2E%2E", "a/%252e%252e/b", " .. "],
)
def test_a12_43_traversal_is_refused(path: str) -> None:
    assert traverses(path)
    assert refusal(path, reading=True)


@pytest.mark.parametrize("path", ["/etc/passwd", "~/.bashrc", "C:\\x", "c:x", "\\\\host\\x", " /x"])
def test_absolute_paths_are_refused(path: str) -> None:
    assert refusal(path, reading=True)


def test_skills_may_be_read_anywhere_and_written_nowhere() -> None:
    path = "/home/u/.gitlab/duo/skills/review/SKILL.md"
    assert refusal(path, reading=True) == ""
    assert refusal(path, reading=False)
    assert refusal("/home/u/.agents/skills/x/SKILL.md", reading=True) == ""
    assert refusal("/home/u/.agents/skills/x/.env", reading=True)
    assert refusal("/home/u/.ssh/.agents/skills/x", reading=True)
    assert refusal("/home/u/.agents/skills/../../.ssh/id", reading=True)


@pytest.mark.parametrize("path", ["a\x00b", "a\nb", "x" * 5000])
def test_malformed_paths_are_refused(path: str) -> None:
    assert refusal(path, reading=True)
