"""The site of the pages: built strictly, whole, and with nothing in it that is loaded from afar."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.support.guide import ROOT, names

LOADED = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "img": ("src", "srcset"),
    "input": ("src",),
    "link": ("href",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "use": ("href", "xlink:href"),
    "video": ("src", "poster"),
}
"""Elements and those of their attributes that a browser follows by itself."""


@dataclass
class Page(HTMLParser):
    """What one page loads, links to, and can be linked at."""

    path: Path
    loads: list[str] = field(default_factory=list[str])
    links: list[str] = field(default_factory=list[str])
    anchors: set[str] = field(default_factory=set[str])
    styles: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        super().__init__()
        self._style = False
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value}
        canonical = given.get("rel") in {"canonical", "next", "prev"}
        self.loads += [
            given[name] for name in LOADED.get(tag, ()) if name in given and not canonical
        ]
        if tag in {"a", "area"} and "href" in given:
            self.links.append(given["href"])
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self.styles += [given["style"]] if "style" in given else []
        self._style = tag == "style"

    def handle_data(self, data: str) -> None:
        self.styles += [data] if self._style else []
        self._style = False


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages; any doubt of the builder is a failure."""
    folder = tmp_path_factory.mktemp("site")
    words = ["-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def elsewhere(address: str) -> bool:
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in {"", "data"}


def test_no_page_loads_anything_from_elsewhere(pages: dict[Path, Page]) -> None:
    assert len(pages) > len(names())
    assert sum(len(page.loads) for page in pages.values()) > 3 * len(pages)
    far = [(page.path.name, one) for page in pages.values() for one in page.loads if elsewhere(one)]
    assert far == []
    styled = [text for page in pages.values() for text in page.styles if "://" in text]
    assert styled == []


def test_no_style_sheet_loads_anything_from_elsewhere(site: Path) -> None:
    sheets = list(site.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        text = sheet.read_text(encoding="utf-8").replace(" ", "").replace('"', "").replace("'", "")
        for far in ("url(http", "url(//", "@importhttp", "@importurl(http", "@import//"):
            assert far not in text, sheet.name


def broken(page: Page, pages: dict[Path, Page], site: Path) -> Iterator[str]:
    """Links of a page, and what it loads, that lead to nothing in the site."""
    for address in (*page.links, *page.loads):
        parts = urlsplit(address)
        if elsewhere(address) or parts.scheme == "data":
            continue
        base = site if parts.path.startswith("/") else page.path.parent
        path = unquote(parts.path).lstrip("/")
        target = (base / path).resolve() if path else page.path
        target = target / "index.html" if target.is_dir() else target
        there = pages.get(target)
        anchor = unquote(parts.fragment)
        if not target.is_file() or (anchor and there is not None and anchor not in there.anchors):
            yield address


def test_every_link_inside_leads_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    site = site.resolve()
    known = {path.resolve(): page for path, page in pages.items()}
    for path, page in known.items():
        if path.name != "404.html":
            assert list(broken(page, known, site)) == [], path.name


def test_every_guide_is_in_the_table_of_contents(site: Path, pages: dict[Path, Page]) -> None:
    first = pages[site / "index.html"]
    missing = [name for name in names() if f"guide/{name}.html" not in first.links]
    assert missing == []
