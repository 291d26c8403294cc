"""Fixtures of the npm clients; a pytest plugin."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fixtures_store import required
from tests.support.npm import Clients, install
from tests.support.npm_stand import SCRIPTS, Stand, standing
from tests.support.scripted_upstream import scripted_upstream


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Clients:
    """The published clients, installed."""
    return Clients(required(install()), tmp_path_factory.mktemp("homes"))


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """The server with its vendor, for a whole module: its data outlives each test."""
    with (
        scripted_upstream(SCRIPTS) as upstream,
        standing(tmp_path_factory.mktemp("stand"), upstream) as started,
    ):
        yield started


@pytest.fixture
def repository(tmp_path: Path, stand: Stand) -> Path:
    """A git repository whose origin is the server's project `team/demo`."""
    return stand.repository(tmp_path / "demo")
