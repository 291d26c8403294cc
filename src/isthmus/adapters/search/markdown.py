"""A Markdown document -> passages by its headings, with fences whole and links made absolute."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from posixpath import dirname, join, normpath
from typing import cast
from urllib.parse import urlsplit

import msgspec
import yaml

PASSAGE_CHARS = 4_000
"""Where a long section is cut, between two paragraphs; a fence may be longer."""
FENCE_CHARS = 16_000
"""Where even a fence is cut."""
HEADER_CHARS = 20_000
TITLE_CHARS = 300
_HEADER = re.compile(r"---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_LINK = re.compile(r"(?<=\]\()([^()\s]{1,2000})(?=[)\s])")
_INLINE = re.compile(r"!?\[([^\]\[]*)\]\([^()]*\)|[`*]|<[^<>]*>|\{[^{}]*\}")
_NOT_SLUG = re.compile(r"[^\w\- ]")


@dataclass(frozen=True, slots=True)
class Piece:
    """A passage: `headings` are the ones above it, outermost first, without the title."""

    title: str
    headings: tuple[str, ...]
    content: str
    source: str
    url: str


@dataclass(slots=True)
class _Section:
    headings: tuple[str, ...]
    blocks: list[str] = field(default_factory=list[str])

    @property
    def full(self) -> bool:
        """Whether anything stands below its heading, which is its first block."""
        return len(self.blocks) > (1 if self.headings else 0)


def pieces(text: str, source: str, site: str = "") -> Iterator[Piece]:
    """The passages of a document; `source` is its path below the root, with `/`.

    `site` is the address of the root, without a trailing slash; empty leaves links as they are.
    """
    title, body = _titled(text)
    sections = list(_sections(body))
    if not title:
        title = next((each.headings[0] for each in sections if each.headings), "") or source
    address = f"{site}/{_address(source)}" if site else ""
    for section in sections:
        headings = section.headings[section.headings[:1] == (title,) :]
        anchor = f"#{_slug(headings[-1])}" if headings and address else ""
        blocks = section.blocks
        if site:
            blocks = [_linked(block, source, site) for block in blocks]
        for content in _cut(blocks):
            yield Piece(title, headings, content, source, address + anchor)


def _titled(text: str) -> tuple[str, str]:
    """The title that the front matter gives, if any, and the text below it."""
    match = _HEADER.match(text.removeprefix("\ufeff"), 0, HEADER_CHARS)
    if match is None:
        return "", text
    body = text.removeprefix("\ufeff")[match.end() :]
    try:
        header = cast("object", msgspec.yaml.decode(match.group(1)))
    except (yaml.YAMLError, msgspec.DecodeError, ValueError, RecursionError):
        return "", body
    title = cast("dict[object, object]", header).get("title") if isinstance(header, dict) else None
    return (title.strip()[:TITLE_CHARS] if isinstance(title, str) else ""), body


def _sections(body: str) -> Iterator[_Section]:
    levels: list[tuple[int, str]] = []
    section = _Section(())
    for block, heading in _blocks(body):
        if heading is None:
            section.blocks.append(block)
            continue
        if section.full:
            yield section
        level, name = heading
        levels = [*(each for each in levels if each[0] < level), (level, name)]
        section = _Section(tuple(name for _, name in levels), [block])
    if section.full:
        yield section


def _blocks(body: str) -> Iterator[tuple[str, tuple[int, str] | None]]:
    """Paragraphs, fences and headings, in order."""
    lines: list[str] = []
    fence = ""
    for line in body.splitlines():
        opened = _FENCE.match(line)
        if fence:
            lines.append(line)
            if opened and opened.group(1).startswith(fence) and not line.strip(" `~"):
                yield "\n".join(lines), None
                lines, fence = [], ""
            continue
        heading = _HEADING.match(line)
        if (heading or opened or not line.strip()) and lines:
            yield "\n".join(lines), None
            lines = []
        if heading:
            yield line, (len(heading.group(1)), _plain(line[heading.end() :]))
        elif opened:
            fence = opened.group(1)
            lines.append(line)
        elif line.strip():
            lines.append(line)
    if lines:
        yield "\n".join(lines), None


def _cut(blocks: list[str]) -> Iterator[str]:
    """Blocks put together up to the size of a passage."""
    kept: list[str] = []
    size = 0
    for block in blocks:
        most = FENCE_CHARS if _FENCE.match(block) else PASSAGE_CHARS
        for start in range(0, len(block), most):
            part = block[start : start + most]
            if kept and size + len(part) > PASSAGE_CHARS:
                yield "\n\n".join(kept)
                kept, size = [], 0
            kept.append(part)
            size += len(part)
    if kept:
        yield "\n\n".join(kept)


def _plain(heading: str) -> str:
    """A heading without its markup and the hashes that may close it."""
    heading = heading.strip()[:TITLE_CHARS]
    bare = heading.rstrip("#")
    if not bare or bare[-1] in " \t":
        heading = bare
    return _INLINE.sub(lambda found: found.group(1) or "", heading).strip()


def _slug(heading: str) -> str:
    return _NOT_SLUG.sub("", heading.lower()).strip().replace(" ", "-")


def _address(source: str) -> str:
    """Where a site shows a file: `a/b.md` at `a/b/`, `a/_index.md` and `a/index.md` at `a/`."""
    folder, _, name = source.rpartition("/")
    stem = re.sub(r"\.(md|markdown)\Z", "", name, flags=re.IGNORECASE)
    if stem == name:
        return source
    parts = [part for part in (folder, "" if stem in {"index", "_index"} else stem) if part]
    return "/".join(parts) + "/" if parts else ""


def _linked(block: str, source: str, site: str) -> str:
    """A paragraph with its relative links made absolute; a fence as it is."""
    if _FENCE.match(block):
        return block
    return _LINK.sub(lambda found: _target(found.group(1), source, site), block)


def _target(link: str, source: str, site: str) -> str:
    try:
        parts = urlsplit(link)
    except ValueError:
        return link
    if parts.scheme or parts.netloc:
        return link
    anchor = f"#{parts.fragment}" if parts.fragment else ""
    if not parts.path:
        return f"{site}/{_address(source)}{anchor}"
    path = parts.path if parts.path.startswith("/") else join("/", dirname(source), parts.path)
    return f"{site}/{_address(normpath(path).lstrip('/'))}{anchor}"
