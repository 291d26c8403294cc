"""Markdown documents cut into passages."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.adapters.search.markdown import FENCE_CHARS, PASSAGE_CHARS, Piece, pieces

SITE = "https://docs.test"


def cut(text: str, source: str = "user/page.md", site: str = SITE) -> list[Piece]:
    return list(pieces(text, source, site))


def test_a_document_is_cut_at_its_headings() -> None:
    text = """---
stage: Create
title: "Protected branches"
---

Above all headings.

## How to protect a branch

First words.

### **Deep** `code` [link](x.md) ##

Deeper words.

## Empty

## Next C#

Last words.
"""
    found = cut(text)
    assert [piece.title for piece in found] == ["Protected branches"] * 4
    assert [piece.headings for piece in found] == [
        (),
        ("How to protect a branch",),
        ("How to protect a branch", "Deep code link"),
        ("Next C#",),
    ]
    assert found[1].content == "## How to protect a branch\n\nFirst words."
    assert [piece.url for piece in found] == [
        f"{SITE}/user/page/",
        f"{SITE}/user/page/#how-to-protect-a-branch",
        f"{SITE}/user/page/#deep-code-link",
        f"{SITE}/user/page/#next-c",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "# The title\n\nText.",
        "---\ntitle: The title\n---\n# The title\n\nText.",
        "\ufeff---\r\ntitle: The title\r\n---\r\nText.",
        "---\ntitle: [not a text\n---\n# The title\n\nText.",
        "---\n- not a mapping\n---\n# The title\n\nText.",
        "---\ntitle: 7\n---\n# The title\n\nText.",
    ],
)
def test_the_title_is_the_front_matters_or_the_first_heading(text: str) -> None:
    (piece,) = cut(text)
    assert (piece.title, piece.headings) == ("The title", ())


def test_a_document_without_any_title_is_called_by_its_path() -> None:
    assert cut("Text.")[0].title == "user/page.md"


def test_fences_are_kept_whole() -> None:
    code = "\n".join(f"line {number}\n\n# no heading" for number in range(400))
    text = f"# T\n\n{'word ' * 700}\n\n```shell\n{code}\n[a](b.md)\n```\n\nAfter."
    found = cut(text)
    (fence,) = [piece for piece in found if "```" in piece.content]
    assert PASSAGE_CHARS < len(fence.content) < FENCE_CHARS
    assert f"```shell\n{code}\n[a](b.md)\n```" in fence.content
    assert {piece.headings for piece in found} == {()}


def test_a_fence_ends_by_its_own_mark_alone() -> None:
    text = "# T\n\n````\n```\n# x\n```\n~~~\n````\n\n## Y\n\nEnd."
    assert [piece.headings for piece in cut(text)] == [(), ("Y",)]


def test_long_sections_are_cut_between_paragraphs() -> None:
    paragraph = "word " * 300
    found = cut("# T\n\n" + "\n\n".join([paragraph] * 10))
    assert len(found) > 3
    assert all(len(piece.content) <= PASSAGE_CHARS + 10 for piece in found)
    joined = " ".join(piece.content for piece in found).split()
    assert joined.count("word") == 3000


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("other.md", f"{SITE}/user/other/"),
        ("../api/index.md#top", f"{SITE}/api/#top"),
        ("../_index.md", f"{SITE}/"),
        ("/ci/yaml.md", f"{SITE}/ci/yaml/"),
        ("img/a.png", f"{SITE}/user/img/a.png"),
        ("#below", f"{SITE}/user/page/#below"),
        ("../../../../etc/x.md", f"{SITE}/etc/x/"),
        ("https://other.test/a.md", "https://other.test/a.md"),
        ("mailto:a@b.test", "mailto:a@b.test"),
        ("//other.test/a.md", "//other.test/a.md"),
        ("http://[broken", "http://[broken"),
    ],
)
def test_links_are_made_absolute(link: str, shown: str) -> None:
    assert cut(f"See [it]({link}) now.")[0].content == f"See [it]({shown}) now."
    assert cut(f"See [it]({link}) now.", site="")[0].content == f"See [it]({link}) now."


def test_without_a_site_there_are_no_addresses() -> None:
    assert {piece.url for piece in cut("# T\n\nText.", site="")} == {""}


@given(st.text(st.sampled_from("#`~ \n\t-[]()<>ab.:/\ufeff{}*"), max_size=300))
def test_any_text_is_cut(text: str) -> None:
    for piece in cut(text):
        assert piece.title
        assert piece.content.strip()


@pytest.mark.parametrize(
    "hostile",
    ["# " + " #" * 200_000, "[" * 400_000, "](" * 200_000, "```\n" * 100_000, "---\n" * 100_000],
)
def test_no_text_takes_long(hostile: str) -> None:
    began_s = time.process_time()
    cut(hostile)
    assert time.process_time() - began_s < 3.0
