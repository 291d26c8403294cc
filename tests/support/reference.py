"""`make docs`: writes the reference page of the HTTP routes."""

from dataclasses import replace
from pathlib import Path

from isthmus.edge.http.app import endpoints_of
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.reference import page
from isthmus.edge.instance import InstanceServices
from tests.support.http_app import Stand

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "http.md"


def endpoints() -> list[Endpoint]:
    """Every route, those of the instance API included."""

    async def door() -> InstanceServices:
        raise NotImplementedError

    return endpoints_of(replace(Stand().services(), instance=door))


def written() -> str:
    """The page as the route table has it now."""
    return page(endpoints())


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
