"""Many processes, one store: what they were granted together, and alone while the store was dead.

The long form is `python -m bench.limits`: 8 processes, 500 clients, three minutes.
"""

import shutil
from pathlib import Path

import pytest

from bench.limits import Load, measure
from tests.support.servers import NO_SERVER


def test_processes_together_keep_to_the_limits(tmp_path: Path) -> None:
    if not (shutil.which("valkey-server") or shutil.which("redis-server")):
        pytest.skip(f"{NO_SERVER}neither Redis nor Valkey is installed")
    found = measure(Load(processes=4, clients=120, seconds=12.0, window_s=2.0), tmp_path)
    # Far more was asked for than there was.
    assert found.refused > 100
    assert found.noticed == 4
    assert found.requests <= 1.01
    assert found.tokens <= 1.01
    assert found.slots <= 1.0
    assert found.alone <= 1.0
    assert found.after <= 1.01
