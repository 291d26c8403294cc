"""Pages of `docs/guide` as tests read them: their blocks, and why one of them is not run."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUIDES = ROOT / "docs" / "guide"
_BLOCK = re.compile(
    r"(?:^ *<!-- not run: (?P<reason>.+?) -->\n+)?^ *```(?P<kind>\w+)\n(?P<text>.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block, and the heading that it stands under.

    `reason` is why no test runs it; "" when one does.
    """

    page: str
    kind: str
    text: str
    line: int
    section: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.page}.md:{self.line}"


@cache
def page(name: str) -> str:
    """The text of `docs/guide/<name>.md`."""
    return (GUIDES / f"{name}.md").read_text(encoding="utf-8")


def found(name: str) -> Iterator[Block]:
    """Every block of a page, in order."""
    text = page(name)
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("kind")) + 1
        headings = _HEADING.findall(text, 0, match.start())
        section = headings[-1] if headings else ""
        yield Block(name, match["kind"], match["text"], line, section, match["reason"] or "")


def blocks(name: str, kind: str, section: str = "") -> list[str]:
    """The texts of a page's blocks of one kind; with a heading, those of its section."""
    return [
        block.text for block in found(name) if block.kind == kind and section in ("", block.section)
    ]


def block(name: str, kind: str, holding: str) -> str:
    """The only block of this kind that holds a text."""
    (only,) = (text for text in blocks(name, kind) if holding in text)
    return only


def names() -> list[str]:
    """Every page of the guide."""
    return sorted(path.stem for path in GUIDES.glob("*.md"))
