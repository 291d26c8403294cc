"""Bodies that fit, and the field that is named when they do not."""

from typing import Annotated, Literal, cast

import msgspec
import pytest

from isthmus.core.errors import FieldError, Invalid
from isthmus.edge.http.body import decoder


class Item(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(max_length=3)]
    size: int = 0


class One(msgspec.Struct, tag_field="version", tag=1):
    items: list[Item]
    kind: Literal["a", "b"] = "a"


class Two(msgspec.Struct, tag_field="version", tag=2):
    items: dict[str, Item]


BODY = cast("type[One | Two]", One | Two)


def test_a_body_that_fits() -> None:
    found = decoder(BODY)(b'{"version":1,"items":[{"name":"x","size":"7"}],"unknown":null}')
    assert found == One([Item("x", 7)])


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", FieldError("", "is not valid JSON")),
        (b"{", FieldError("", "is not valid JSON")),
        (b'{"version":1,"items":[]} x', FieldError("", "is not valid JSON")),
        (b'{"version":1,"items":[{"name":"\xff"}]}', FieldError("", "is not valid JSON")),
        (b'{"version":1,"items":[{"name":"\\ud800"}]}', FieldError("", "is not valid JSON")),
        (b'{"version":1,"items":[{"name":"\\udc00"}]}', FieldError("", "is not valid JSON")),
        (b'{"version":1,"x":' + b"[" * 100_000, FieldError("", "is nested too deeply")),
        (b'{"x":' * 100_000, FieldError("", "is nested too deeply")),
        (b"[]", FieldError("", "Expected `object`, got `array`")),
        (b"{}", FieldError("version", "is required")),
        (b'{"version":1}', FieldError("items", "is required")),
        (b'{"version":1,"items":[{}]}', FieldError("items[0].name", "is required")),
        (b'{"version":"1"}', FieldError("version", "Expected `int`")),
        (b'{"version":3}', FieldError("version", "Invalid value 3")),
        (
            b'{"version":1,"items":[{"name":"x"},{"name":"long"}]}',
            FieldError("items[1].name", "Expected `str` of length <= 3"),
        ),
        (
            b'{"version":1,"items":[{"name":"x","size":"many"}]}',
            FieldError("items[0].size", "Expected `int`, got `str`"),
        ),
        (
            b'{"version":1,"items":[],"kind":"c"}',
            FieldError("kind", "Invalid enum value 'c'"),
        ),
        (b'{"version":2,"items":{"k":{}}}', FieldError("items[...].name", "is required")),
    ],
)
def test_a_body_that_does_not_fit_names_the_field(raw: bytes, fault: FieldError) -> None:
    with pytest.raises(Invalid) as caught:
        decoder(BODY)(raw)
    assert caught.value.fields == (fault,)
    assert caught.value.detail == "Validation error"
