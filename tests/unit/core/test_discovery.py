"""Discovery collects one name a module and refuses a module that forgot it."""

import sys
from pathlib import Path

import pytest

from isthmus.core.discovery import discover


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    name = f"found_{abs(hash(request.node.name))}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "beta.py").write_text("THING = 2\n")
    (folder / "alpha.py").write_text("THING = 1\n")
    (folder / "_private.py").write_text("raise RuntimeError('must not be imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_every_public_module_is_found_in_order(package: str) -> None:
    __import__(package)
    assert list(discover(sys.modules[package], "THING").items()) == [("alpha", 1), ("beta", 2)]


def test_a_module_that_declares_nothing_stops_the_start(package: str, tmp_path: Path) -> None:
    (tmp_path / package / "gamma.py").write_text("OTHER = 3\n")
    __import__(package)
    with pytest.raises(ImportError, match=r"gamma must declare THING"):
        discover(sys.modules[package], "THING")
