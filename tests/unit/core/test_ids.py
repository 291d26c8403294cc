"""Names that nobody else has."""

from uuid import RFC_4122, UUID

from isthmus.core.ids import new_id


def test_each_is_a_uuid_of_its_own() -> None:
    made = [new_id() for _ in range(10_000)]
    assert len(set(made)) == len(made)
    for text in made:
        found = UUID(text)
        assert (str(found), found.version, found.variant) == (text, 4, RFC_4122)
