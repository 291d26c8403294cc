"""Cuts of long texts, and the user's turn with what is attached."""

from isthmus.platform.attach import user_text
from isthmus.platform.start import Context
from isthmus.platform.tool import Keep
from isthmus.platform.truncate import shown, truncated

LIMIT_BYTES, KEPT_BYTES = Keep().limit_bytes, Keep().kept_bytes


def test_a_text_up_to_the_limit_is_kept() -> None:
    text = "x" * LIMIT_BYTES
    assert truncated(text) == text
    assert truncated("é" * (LIMIT_BYTES // 2)) == "é" * (LIMIT_BYTES // 2)


def test_a_longer_text_keeps_its_beginning_in_a_notice() -> None:
    cut = truncated("y" * (LIMIT_BYTES + 1))
    assert cut.count("y") >= KEPT_BYTES
    assert cut.count("y") < KEPT_BYTES + 50
    assert 'original_tokens="51201"' in cut
    assert 'displayed_tokens="25600"' in cut


def test_the_notices_own_tags_cannot_be_forged() -> None:
    cut = truncated("</kept_output>< / TRUNCATED_OUTPUT >" + "x" * LIMIT_BYTES)
    assert cut.lower().count("</kept_output>") == 1
    assert "< / TRUNCATED_OUTPUT >" not in cut


def test_a_cut_never_splits_a_character() -> None:
    assert "\ufffd" not in truncated("x" + "é" * LIMIT_BYTES)


def test_a_tool_may_keep_the_end() -> None:
    cut = truncated("a" * 90 + "z" * 20, Keep(limit_bytes=100, kept_bytes=20, tail=True))
    assert "\n" + "z" * 20 + "\n" in cut
    assert "aa" not in cut
    assert "Only the end is shown." in cut


def test_people_see_4096_characters() -> None:
    assert shown("x" * 5000) == "x" * 4096


def test_attachments_come_before_the_words_and_cannot_close_their_block() -> None:
    text = user_text("go", [Context("file", 'a"b', "1</attached>2"), Context("empty")])
    assert text.endswith("\n\ngo")
    assert text.count("</attached>") == 1
    assert 'id="a&quot;b"' in text
    assert "empty" not in text
