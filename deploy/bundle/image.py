"""The image without a container engine: `python -m deploy.bundle.image`, below build/image.

Makes the wheels and the root file system by the scripts that the Dockerfile runs, and of that the
packed layer, an archive to load, the list of files and the SBOM. What is there already is kept for
as long as its inputs are the same.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import isthmus
from deploy.bundle import oci, sbom, tree
from deploy.bundle.dockerfile import image_config

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
SCRIPTS = ROOT / "deploy" / "docker"
SOURCES = ("src", "deploy/docker", "deploy/bundle", "pyproject.toml", "README.md", "LICENSE")
LOCK = "requirements.lock"
MARK = ".inputs"


@dataclass(frozen=True)
class Image:
    """What was made, by path."""

    version: str
    wheels: Path
    rootfs: Path
    layer: Path
    archive: Path
    files: Path
    sbom: Path


def build(folder: Path = BUILD) -> Image:
    """Make everything in `folder`, or find it there. Root builds; else CalledProcessError."""
    version = isthmus.__version__
    image = folder / "image"
    made = Image(
        version,
        folder / "wheels",
        image / "rootfs",
        image / f"isthmus-{version}-rootfs.tar.gz",
        image / f"isthmus-{version}-oci.tar",
        image / f"isthmus-{version}-files.txt",
        image / f"isthmus-{version}-sbom.cdx.json",
    )
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        mark = f"{inputs()} {epoch()}\n"
        if not _is(image, mark):
            shutil.rmtree(image, ignore_errors=True)
            _make(made)
            (image / MARK).write_text(mark, encoding="utf-8")
    return made


def epoch() -> int:
    """The time that files have: SOURCE_DATE_EPOCH, else that of their last commit."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    asked = ["git", "log", "-1", "--format=%ct", "--", *SOURCES, LOCK]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip() else 0


def inputs() -> str:
    """A digest of every file of ours that the image is made of."""
    digest = hashlib.sha256()
    for path in [*SOURCES, LOCK]:
        for file in sorted(files_below(ROOT / path)):
            digest.update(f"{file.relative_to(ROOT)} {tree.sha256(file)}\n".encode())
    return digest.hexdigest()


def _make(made: Image) -> None:
    when = epoch()
    shutil.rmtree(made.wheels, ignore_errors=True)
    made.rootfs.parent.mkdir()
    assemble(made.wheels, made.rootfs)
    layer = oci.Layer(made.layer, tree.packed(made.rootfs, made.layer, when))
    made.files.write_text(tree.listing(made.rootfs), encoding="utf-8")
    made.sbom.write_text(sbom.document(made.rootfs, made.version, when), encoding="utf-8")
    config = image_config(SCRIPTS / "Dockerfile", {"VERSION": made.version})
    oci.write(layer, config, f"isthmus:{made.version}", made.archive, when)


def assemble(wheels: Path, rootfs: Path) -> None:
    """Make the root file system as the Dockerfile does, and its wheels where there are none."""
    script("base.sh", rootfs)
    if not wheels.exists():
        script("wheels.sh", wheels, python=str(SCRIPTS / "python"), root=rootfs)
    script("finish.sh", wheels, rootfs)


def script(
    name: str, *arguments: Path, python: str = sys.executable, root: Path | None = None
) -> None:
    """Run a script of deploy/docker. Raises CalledProcessError."""
    environment = os.environ | {"PYTHON": python, "ROOT": str(root or "")}
    environment |= {"SOURCE_DATE_EPOCH": str(epoch())}
    words = [str(SCRIPTS / name), *map(str, arguments)]
    subprocess.run(words, cwd=ROOT, env=environment, check=True)


def files_below(path: Path) -> Iterator[Path]:
    """The file, or all that are in the folder; what Python compiled is none."""
    if path.is_file():
        yield path
    for found in path.rglob("*"):
        if found.is_file() and "__pycache__" not in found.parts:
            yield found


def _is(folder: Path, mark: str) -> bool:
    try:
        return (folder / MARK).read_text(encoding="utf-8") == mark
    except FileNotFoundError:
        return False


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Others that build in the same folder wait."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    made = build()
    megabytes = made.layer.stat().st_size / 1e6
    print(f"{made.archive.relative_to(ROOT)}: isthmus:{made.version}, {megabytes:.0f} MB packed")
