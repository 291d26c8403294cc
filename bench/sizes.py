"""How much an install weighs, without test tools."""

import shutil
import subprocess
import sys
from pathlib import Path

from bench.report import Installed

ROOT = Path(__file__).resolve().parents[1]
KINDS = {"base": ".", "platform": ".[platform]"}


def measure(out: Path) -> list[Installed]:
    """Install the base and the platform into fresh environments and weigh what came."""
    return [Installed(name, _weigh(out / f"install-{name}", spec)) for name, spec in KINDS.items()]


def _weigh(folder: Path, spec: str) -> float:
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", str(folder / "bin" / "python")]
    constraints = folder / "constraints.txt"
    constraints.write_text(_versions(ROOT / "requirements.lock"), encoding="utf-8")
    subprocess.run([*pip, "install", "-c", str(constraints), spec], check=True, cwd=ROOT)
    total = sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    shutil.rmtree(folder, ignore_errors=True)
    return total / 1e6


def _versions(lock: Path) -> str:
    lines = lock.read_text(encoding="utf-8").splitlines()
    return "\n".join(line.rstrip(" \\") for line in lines if "==" in line and line[0].isalnum())
