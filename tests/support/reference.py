"""`make docs`: writes the reference page of the HTTP routes."""

from pathlib import Path

from isthmus.edge.http.app import endpoints_of
from isthmus.edge.http.reference import page
from tests.support.http_app import Stand

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "http.md"


def written() -> str:
    """The page as the route table has it now."""
    return page(endpoints_of(Stand().services()))


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
