"""Attacks on the workspace: every way out that we know, and the ways that must stay open."""

import os
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from isthmus.core.errors import ToolRefused
from isthmus.executor.paths import parts_of
from isthmus.executor.workspace import Workspace

SECRET = "what nobody may read"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_text(SECRET)
    return folder


@pytest.fixture
def workspace(tmp_path: Path, outside: Path) -> Workspace:
    del outside
    root = tmp_path / "work"
    (root / "src").mkdir(parents=True)
    (root / "README.md").write_text("hello\n")
    (root / "src/app.py").write_text("print()\n")
    (root / ".git").mkdir()
    (root / ".git/config").write_text("[core]\n")
    (root / ".env").write_text("KEY=1\n")
    (root / ".env.example").write_text("KEY=\n")
    return Workspace(root)


ESCAPES = [
    "..",
    "../outside/secret.txt",
    "src/../../outside/secret.txt",
    "./../outside/secret.txt",
    "src/..",
    "a/b/c/../../../../outside/secret.txt",
    "..\\outside\\secret.txt",
    "src\\..\\..\\outside",
    "C:\\Windows\\win.ini",
    "%2e%2e/outside/secret.txt",
    "%2E%2e%2Foutside/secret.txt",
    "%252e%252e/outside/secret.txt",
    "/etc/passwd",
    "//etc/passwd",
    "/",
    "/proc/self/environ",
    "/dev/zero",
    "~/.bashrc",
    "~root/x",
    "README.md\0.png",
    "README.md\n",
    "\x1b[2JREADME.md",
    "src/" + "d/" * 200 + "x",
    "x" * 300,
    "y/" * 3000,
    "é" * 200,
    ".git/config",
    ".GIT/config",
    ".Git/hooks/pre-commit",
    "src/.git/config",
    "./.git//config",
    ".git./config",
    ".git /config",
    ".g\u200cit/config",
    "\uff0egit/config",
    "git~1/config",
    ".git::$INDEX_ALLOCATION/config",
    ".env",
    ".ENV",
    ".env.production",
    "deploy/.env.local",
    ".ssh/id_rsa",
    ".vscode/settings.json",
    ".idea/workspace.xml",
    ".config/nvim/init.lua",
    ".gitlab/duo/chat.md",
    "Dockerfile.secrets",
    ".env.example/../.env",
]


@pytest.mark.parametrize("path", ESCAPES)
def test_nothing_leads_out(workspace: Workspace, path: str) -> None:
    attacks: list[Callable[[], object]] = [
        lambda: workspace.read(path),
        lambda: workspace.write(path, b"x"),
        lambda: workspace.make_directory(path),
        lambda: workspace.entries(path),
    ]
    before = sorted(Path(workspace.root).parent.rglob("*"))
    for attack in attacks:
        with pytest.raises(ToolRefused) as caught:
            attack()
        assert SECRET not in caught.value.detail
    assert sorted(Path(workspace.root).parent.rglob("*")) == before
    assert not workspace.holds_file(path)


def test_an_absolute_path_below_the_workspace_is_inside(workspace: Workspace) -> None:
    assert workspace.read(f"{workspace.root}/README.md") == b"hello\n"
    with pytest.raises(ToolRefused, match="outside"):
        workspace.read(f"{workspace.root}-other/README.md")
    with pytest.raises(ToolRefused, match=r"'\.\.'"):
        workspace.read(f"{workspace.root}/../outside/secret.txt")


def test_a_workspace_named_through_a_link_takes_both_names(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a").write_text("a")
    (tmp_path / "link").symlink_to("real")
    workspace = Workspace(tmp_path / "link")
    assert workspace.read(str(tmp_path / "link/a")) == b"a"
    assert workspace.read(str(tmp_path / "real/a")) == b"a"


LINKS = {
    "to a file outside": ("../outside/secret.txt", "link"),
    "to a directory outside": ("../outside", "link/secret.txt"),
    "to the root directory": ("/", "link/etc/passwd"),
    "dangling, outside": ("../outside/new.txt", "link"),
    "dangling directory": ("../nowhere", "link/x"),
    "to itself": ("link", "link"),
    "to a protected file": (".git/config", "link"),
    "to a protected directory": (".git", "link/config"),
    "to a file inside": ("README.md", "link"),
    "through a process": ("/proc/self/cwd", "link/README.md"),
}


@pytest.mark.parametrize("name", LINKS)
def test_links_are_not_followed(workspace: Workspace, outside: Path, name: str) -> None:
    target, path = LINKS[name]
    (workspace.root / "link").symlink_to(target)
    for attack in (
        lambda: workspace.read(path),
        lambda: workspace.write(path, b"gotcha"),
        lambda: workspace.make_directory(path),
        lambda: workspace.entries(path),
        lambda: workspace.holds_directory(path),
    ):
        with pytest.raises(ToolRefused):
            attack()
    assert not workspace.holds_file(path)
    assert [path.name for path in outside.iterdir()] == ["secret.txt"]
    assert (outside / "secret.txt").read_text() == SECRET
    assert (workspace.root / ".git/config").read_text() == "[core]\n"
    assert (workspace.root / "link").is_symlink()


@pytest.mark.parametrize("path", ["src/secret.txt", "secret.txt"], ids=["directory", "file"])
def test_a_path_that_turns_into_a_link_and_back_leads_nowhere(
    workspace: Workspace, outside: Path, path: str
) -> None:
    """The race, run for real: another thread swaps the component as fast as it can."""
    name, target = ("src", outside) if "/" in path else (path, outside / "secret.txt")
    honest, link = workspace.root / "honest", workspace.root / "link"
    (workspace.root / "src/secret.txt").write_text("inside")
    (workspace.root / "secret.txt").write_text("inside")
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            os.rename(workspace.root / name, honest)
            link.symlink_to(target)
            os.rename(link, workspace.root / name)
            os.unlink(workspace.root / name)
            os.rename(honest, workspace.root / name)
            time.sleep(0.0005)

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen: list[bytes] = []
    refused = 0
    give_up_s = time.monotonic() + 15
    try:
        while (len(seen) < 300 or refused < 300) and time.monotonic() < give_up_s:
            try:
                seen.append(workspace.read(path))
            except ToolRefused:
                refused += 1
    finally:
        over.set()
        swapper.join()
    assert set(seen) == {b"inside"}
    assert refused > 0, "the two never met"


def test_pipes_and_directories_are_not_files(workspace: Workspace) -> None:
    os.mkfifo(workspace.root / "pipe")
    for path in ("pipe", "src"):
        with pytest.raises(ToolRefused):
            workspace.read(path)
        with pytest.raises(ToolRefused):
            workspace.write(path, b"x")
        assert not workspace.holds_file(path)


def test_a_device_is_not_read() -> None:
    workspace = Workspace(Path("/dev"))
    for path in ("zero", "null", "random"):
        with pytest.raises(ToolRefused, match="not a regular file"):
            workspace.read(path)


def test_a_file_over_the_limit_is_refused_without_reading_it_all(workspace: Workspace) -> None:
    with (workspace.root / "big").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ToolRefused, match="larger than 100 bytes"):
        workspace.read("big", 100)


def test_a_hard_link_is_replaced_and_not_written_through(
    workspace: Workspace, outside: Path
) -> None:
    os.link(outside / "secret.txt", workspace.root / "hard")
    workspace.write("hard", b"new")
    assert (outside / "secret.txt").read_text() == SECRET
    assert workspace.read("hard") == b"new"


def test_writing_is_whole_or_nothing(workspace: Workspace) -> None:
    """The system refuses the write half way: no file may grow past 1,000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(ToolRefused, match=r"README\.md: could not be used"):
            workspace.write("README.md", b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert workspace.read("README.md") == b"hello\n"
    assert [name for name in os.listdir(workspace.root) if name.endswith(".tmp")] == []


def test_writing_makes_parents_keeps_modes_and_may_be_repeated(workspace: Workspace) -> None:
    (workspace.root / "src/app.py").chmod(0o750)
    for _ in range(2):
        workspace.write("src/app.py", b"new")
        workspace.write("a/b/c.txt", b"c")
    assert (workspace.root / "src/app.py").stat().st_mode & 0o777 == 0o750
    assert workspace.read("a/b/c.txt") == b"c"


def test_a_listing_hides_what_is_protected(workspace: Workspace) -> None:
    assert workspace.entries("") == [".env.example", "README.md", "src/"]
    assert workspace.entries(".") == workspace.entries("/".join([str(workspace.root), "."]))
    assert list(workspace.walk()) == [".env.example", "README.md", "src/app.py"]


@pytest.mark.parametrize("path", [".env.example", ".gitignore", ".github/ci.yml", "a..b", "...x"])
def test_ordinary_names_stay_open(workspace: Workspace, path: str) -> None:
    workspace.write(path, b"fine")
    assert workspace.read(path) == b"fine"


def test_messages_name_the_path_as_it_was_asked_for(workspace: Workspace) -> None:
    with pytest.raises(ToolRefused) as caught:
        workspace.read("src/none.py")
    assert caught.value.detail == 'File not found: "src/none.py"'
    assert str(workspace.root) not in caught.value.detail


def test_descriptors_are_given_back(workspace: Workspace) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for path in ("README.md", "src/app.py", "none", ".git/x", "a/b"):
        for attempt in (workspace.read, workspace.entries):
            try:
                attempt(path)
            except ToolRefused:
                continue
    assert len(os.listdir("/proc/self/fd")) == before


def test_paths_are_pure() -> None:
    assert parts_of("./a//b/") == ("a", "b")
    assert parts_of("") == ()
    assert parts_of("/w/a", ["/w"]) == ("a",)
