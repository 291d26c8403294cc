"""Route modules are imported by the application's start; here that happens before any loop runs."""

import pytest

from isthmus.edge.http.app import create
from tests.support.http_app import Stand


@pytest.fixture(scope="session", autouse=True)
def routes_are_imported() -> None:
    create(Stand().services())
