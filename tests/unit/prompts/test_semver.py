"""Which version a constraint picks."""

import pytest

from isthmus.prompts.semver import parse, pick

VERSIONS = [
    parse(text)
    for text in ("0.9.0", "1.0.0", "1.0.1", "1.1.0-dev", "1.2.0", "1.10.0", "2.0.0", "2.0.1-dev")
]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("1.0.0", "1.0.0"),
        ("1.1.0-dev", "1.1.0-dev"),
        ("1.1.0", None),
        ("^1.0.0", "1.10.0"),
        ("^1", "1.10.0"),
        ("^0.9.0", "0.9.0"),
        ("^0.8", None),
        ("^2.0.1", None),
        ("~1.0.0", "1.0.1"),
        ("~1.0", "1.0.1"),
        ("~1", "1.10.0"),
        ("1.*", "1.10.0"),
        ("==1.0.*", "1.0.1"),
        ("!=2.*", "1.10.0"),
        (">=1.0,<2", "1.10.0"),
        (">=1.0, <1.2", "1.0.1"),
        (">1.0.1,<=1.2.0", "1.2.0"),
        ("!=2.0.0", "1.10.0"),
        ("=1.2.0", "1.2.0"),
        ("^3 || ~1.0", "1.0.1"),
        ("*", "2.0.1-dev"),
        (">=9", None),
    ],
)
def test_a_constraint_picks_the_highest_release_that_it_allows(
    wanted: str, found: str | None
) -> None:
    version = pick(VERSIONS, wanted)
    assert (version.text if version else None) == found


@pytest.mark.parametrize(
    "wanted", ["", "latest", "^", "1.2.3.4", "^1.*", "1.0.0.*", "^1,", "x" * 101, ">=1" + "0" * 9]
)
def test_nonsense_is_refused(wanted: str) -> None:
    with pytest.raises(ValueError, match="constraint"):
        pick(VERSIONS, wanted)


@pytest.mark.parametrize("text", ["1.0", "1.0.0-", "v1.0.0", "1.0.0+build", "1.0.0-a b", "-1.0.0"])
def test_a_file_stem_must_be_a_version(text: str) -> None:
    with pytest.raises(ValueError, match="not a version"):
        parse(text)
