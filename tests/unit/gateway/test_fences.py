"""Fence lines of code that arrives in pieces."""

from collections.abc import AsyncGenerator, Iterable

import pytest

from isthmus.core.errors import UpstreamFailed
from isthmus.gateway.fences import without_fences


async def pieces(texts: Iterable[str | Exception]) -> AsyncGenerator[str, None]:
    for text in texts:
        if isinstance(text, Exception):
            raise text
        yield text


async def joined(texts: Iterable[str | Exception]) -> str:
    return "".join([text async for text in without_fences(pieces(texts))])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("```py\nx\n```", "x\n"),
        ("```py\nx\n```\n\n", "x\n"),
        ("\n```py\nx\n```\n", "\nx\n"),
        ("x\n```\ny\n```\nz", "x\n```\ny\n```\nz"),
        ("x = '```'", "x = '```'"),
        ("x\n```", "x\n"),
        ("no end", "no end"),
        ("", ""),
    ],
)
async def test_only_the_outer_fence_lines_go_however_the_text_is_cut(
    text: str, expected: str
) -> None:
    for size in (1, 2, 3, 7, 100):
        cut = [text[at : at + size] for at in range(0, len(text), size)]
        assert await joined(cut) == expected


async def test_lines_go_out_as_they_end() -> None:
    texts = without_fences(pieces(["```\na\nb", UpstreamFailed("broke", status=500)]))
    assert await anext(texts) == "a\n"
    with pytest.raises(UpstreamFailed):
        await anext(texts)


async def test_a_line_without_end_is_not_held_for_ever() -> None:
    texts = without_fences(pieces(["x" * 3_000, "x" * 3_000, UpstreamFailed("broke")]))
    assert len(await anext(texts)) == 6_000
    await texts.aclose()
