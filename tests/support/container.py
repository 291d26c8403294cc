"""A root file system run as a container engine runs it: namespaces, a user, no way to write."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from deploy.bundle.dockerfile import image_config
from deploy.bundle.image import SCRIPTS, Image, build

PROGRAMS = ("unshare", "nsenter", "setpriv", "mmdebstrap", "strip", "ip")
APART = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--")
DATA = "/var/lib/isthmus"
ENTER = """
mount --make-rprivate /
ip link set lo up
mkdir -p "$2/upper" "$2/work" "$2/root"
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
cd "$2/root"
mount -t tmpfs -o mode=755 dev dev
for name in null zero full random urandom; do
  : >"dev/$name"
  mount --bind "/dev/$name" "dev/$name"
done
mount -o remount,ro dev
mount -t proc proc proc
mount --bind "$2/data" var/lib/isthmus
[ "$3" = tmp ] || rmdir tmp
[ "$4" = writable ] || mount -o remount,ro "$2/root"
user=$5
shift 5
exec setpriv --no-new-privs chroot --userspec="$user" --groups= . "$@"
"""


def needed() -> str:
    """Why no container can be run here; empty when one can."""
    search = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=search) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    return "" if os.geteuid() == 0 else "namespaces are made by root"


def require() -> None:
    """Skip the test where no container can be run; in CI that is a failure."""
    reason = needed()
    if reason and os.environ.get("CI"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


def image() -> Image:
    """The image, built once. Skips the test where it cannot be built or run; in CI it fails."""
    require()
    built = _build_once()
    if isinstance(built, Image):
        return built
    raise AssertionError("the image could not be built") from built


@cache
def _build_once() -> Image | Exception:
    try:
        return build()
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        return error


@cache
def config() -> dict[str, Any]:
    """What the Dockerfile says of it."""
    return image_config(SCRIPTS / "Dockerfile", {"VERSION": "test"})


@dataclass(slots=True)
class Container:
    """A running one. `pid` is that of its first process, `user` who it runs as."""

    process: "subprocess.Popen[bytes]"
    folder: Path
    environment: dict[str, str]
    user: str
    pid: int = 0

    @property
    def door(self) -> list[str]:
        """What to put before a command of this machine that is to reach the container's ports."""
        return ["nsenter", "--target", str(self.pid), "--net", "--"]

    @property
    def out(self) -> str:
        """All that it has printed and logged."""
        return (self.folder / "out.txt").read_text(encoding="utf-8", errors="replace")

    @property
    def data(self) -> Path:
        """The data volume."""
        return self.folder / "data"

    @property
    def written(self) -> list[str]:
        """What stands beside the image's files and outside of the volume."""
        upper = self.folder / "upper"
        found = (path for path in upper.rglob("*") if path.is_file() or path.is_symlink())
        return sorted(str(path.relative_to(upper)) for path in found)

    def run(self, *words: str, limit_s: float = 60.0) -> "subprocess.CompletedProcess[str]":
        """Run a command inside of it, as `docker exec` does."""
        user, _, group = self.user.partition(":")
        entry = ("--mount", "--net", "--pid", "--root", f"--setuid={user}", f"--setgid={group}")
        inside = ["env", "-i", "-C", DATA, *(f"{k}={v}" for k, v in self.environment.items())]
        entered = ["nsenter", "--target", str(self.pid), *entry, "--"]
        return _done([*entered, *inside, *words], limit_s)

    def at_its_ports(
        self, *words: str, limit_s: float = 60.0
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command of this machine where the container's ports can be reached."""
        return _done([*self.door, *words], limit_s)

    def wait_for(self, url: str, limit_s: float = 90.0) -> str:
        """Return what `url` answers, once it is a 200."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            assert self.process.poll() is None, self.out
            done = self.at_its_ports("curl", "-sfk", "--max-time", "5", url)
            if done.returncode == 0:
                return done.stdout
            time.sleep(0.1)
        raise AssertionError(f"{url} does not answer: {self.out}")

    def wait_for_text(self, text: str, limit_s: float = 90.0) -> None:
        """Return once it has printed `text`."""
        until = time.monotonic() + limit_s
        while text not in self.out:
            assert self.process.poll() is None, self.out
            assert time.monotonic() < until, self.out
            time.sleep(0.05)

    def memory_bytes(self) -> int:
        """Resident memory of its first process."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))

    def stop(self, number: int = signal.SIGTERM, limit_s: float = 60.0) -> int:
        """Signal its first process; its exit code."""
        os.kill(self.pid, number)
        return self.process.wait(limit_s)


def _done(words: list[str], limit_s: float) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(words, capture_output=True, text=True, timeout=limit_s, check=False)


@contextmanager
def running(
    folder: Path,
    settings: Mapping[str, str] | None = None,
    *,
    command: tuple[str, ...] = (),
    user: str = "",
    options: tuple[str, str] = ("no tmp", "read-only"),
    mount: Callable[[Path], object] = str,
) -> Iterator[Container]:
    """Run the image as its configuration says; `folder` gets data and output.

    `options` other than `("tmp", "writable")` take away `/tmp` and the right to write; `mount`
    puts into the data volume what is to be there from the start.
    """
    about = config()
    who = user or str(about["User"])
    environment = dict(pair.split("=", 1) for pair in about["Env"]) | dict(settings or {})
    data = folder / "data"
    data.mkdir()
    os.chown(data, *map(int, who.split(":")))
    data.chmod(0o770)
    mount(data)
    inside = [*about["Entrypoint"], *(command or about["Cmd"])]
    words = [str(image().rootfs), str(folder), *options, who, "/usr/bin/env", "-i", "-C", DATA]
    words += [f"{name}={value}" for name, value in environment.items()]
    with (folder / "out.txt").open("wb") as out:
        process = subprocess.Popen(
            [*APART, "sh", "-euc", ENTER, "enter", *words, *inside],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    container = Container(process, folder, environment, who)
    try:
        container.pid = _child(process)
        yield container
    finally:
        process.kill()
        process.wait()


def _child(process: "subprocess.Popen[bytes]") -> int:
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        found = listed.read_text(encoding="utf-8").split()
        if found:
            return int(found[0])
        time.sleep(0.01)
    raise AssertionError("the container did not start")
