"""The archive for places without a network, made once."""

import subprocess
from functools import cache
from pathlib import Path

from deploy.bundle.__main__ import bundle
from tests.support.container import image


@cache
def archive() -> Path:
    """The archive. Skips the test where the image cannot be built; in CI it fails."""
    image()
    return bundle()


def unpacked(folder: Path) -> Path:
    """The archive's own folder, unpacked below `folder`."""
    subprocess.run(["tar", "-xf", str(archive()), "-C", str(folder)], check=True)
    (top,) = folder.iterdir()
    return top
