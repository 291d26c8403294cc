"""One archive that installs where there is no network: `python -m deploy.bundle`, below build.

Wheels, image, chart, dashboards, configuration of proxies, the documentation, and the sums of all.
`--python PROGRAM`, more than once, adds wheels for another Python; `--twice` builds everything a
second time, and fails where the two differ.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.bundle import tree
from deploy.bundle.image import BUILD, ROOT, Image, alone, build, epoch, files_below, script

HERE = Path(__file__).parent
FOLDERS = {
    "deploy/helm": "chart",
    "deploy/monitoring": "monitoring",
    "deploy/compose": "compose",
    "deploy/systemd": "systemd",
    "docs/guide": "guide",
}
IMAGE_PYTHON = "3.11"
SITE = ROOT / "mkdocs.yml"
VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def bundle(folder: Path = BUILD, pythons: tuple[str, ...] = ()) -> Path:
    """Make the archive in `folder`; its path. Raises CalledProcessError."""
    image = build(folder)
    out = folder / f"isthmus-{image.version}-bundle.tar"
    with alone(folder), TemporaryDirectory(dir=folder) as name:
        files = _files(image, Path(name), pythons)
        sums = "".join(
            f"{tree.sha256(path)}  {name}\n" for name, path in sorted(files.items())
        ).encode()
        top = out.name.removesuffix("-bundle.tar")
        inside: dict[str, bytes | Path] = {f"{top}/{name}": path for name, path in files.items()}
        tree.gathered(inside | {f"{top}/SHA256SUMS": sums}, out, epoch())
    return out


def _files(image: Image, work: Path, pythons: tuple[str, ...]) -> dict[str, Path]:
    """What the archive holds, by its names."""
    files = {
        "install.sh": HERE / "install.sh",
        "README.md": ROOT / "docs" / "guide" / "offline.md",
        "LICENSE": ROOT / "LICENSE",
        "CHANGELOG.md": ROOT / "CHANGELOG.md",
        "requirements.lock": ROOT / "requirements.lock",
        **{f"image/{path.name}": path for path in (image.archive, image.files, image.sbom)},
        **{f"wheels/{path.name}": path for path in image.wheels.glob("*.whl")},
    }
    versions = {IMAGE_PYTHON}
    for number, python in enumerate((sys.executable, *pythons)):
        if _version(python) in versions:
            continue
        script("wheels.sh", work / str(number), python=python)
        files |= {f"wheels/{path.name}": path for path in (work / str(number)).glob("*.whl")}
        versions.add(_version(python))
    (work / "PYTHONS").write_text("".join(f"{one}\n" for one in sorted(versions)), "utf-8")
    files["wheels/PYTHONS"] = work / "PYTHONS"
    for source, name in FOLDERS.items():
        for path in files_below(ROOT / source):
            files[f"{name}/{path.relative_to(ROOT / source)}"] = path
    if SITE.exists():
        files |= {f"docs/{path.relative_to(work / 'site')}": path for path in _site(work / "site")}
    return files


def _site(folder: Path) -> list[Path]:
    """The documentation as pages for a browser. The map with its times is left out."""
    words = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(epoch()), "NO_MKDOCS_2_WARNING": "1"}
    subprocess.run(words, cwd=ROOT, env=environment, check=True)
    return [path for path in files_below(folder) if not path.name.startswith("sitemap.xml")]


def _version(python: str) -> str:
    words = [python, "-c", VERSION]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def _twice(pythons: tuple[str, ...]) -> bool:
    """Whether a second build, in an empty folder, gives the same archive."""
    again = BUILD / "again"
    shutil.rmtree(again, ignore_errors=True)
    first, second = bundle(BUILD, pythons), bundle(again, pythons)
    print(f"{tree.sha256(first)}  {first}\n{tree.sha256(second)}  {second}")
    return tree.sha256(first) == tree.sha256(second)


def main() -> int:
    """Make the archive, and tell where it is."""
    parser = argparse.ArgumentParser(prog="python -m deploy.bundle", description=__doc__)
    parser.add_argument("--python", action="append", default=[], metavar="PROGRAM")
    parser.add_argument("--twice", action="store_true")
    args = parser.parse_args()
    if args.twice:
        return 0 if _twice(tuple(args.python)) else 1
    made = bundle(BUILD, tuple(args.python))
    print(f"{made.relative_to(ROOT)}: {made.stat().st_size / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
