"""Contract message <-> JSON frame, by tables that are prepared once a message type.

Out: proto names, defaults emitted, 64-bit integers as text, unset optional fields left out. In:
either name of a field, unknown ones ignored, null for unset. Source: instance contract, 3.4.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, Final, TypeAlias, TypeVar, cast

import msgspec
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from isthmus.core.errors import Invalid

DEPTH_LIMIT: Final = 32
"""Nesting of a frame. A level of an inline flow takes three of the hundred that protobuf reads."""
STRUCT: Final = "google.protobuf.Struct"

_F = FieldDescriptor
_WIDE: Final = frozenset({_F.CPPTYPE_INT64, _F.CPPTYPE_UINT64})
_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,19})")
_JSON: Final = msgspec.json.Encoder()

Specific = TypeVar("Specific", bound=Message)
Convert: TypeAlias = Callable[[Any], Any]
Place: TypeAlias = Callable[[Message, Any], None]


class _Unfit(ValueError):
    """A value that its field cannot hold."""


def encode(message: Message) -> bytes:
    """The frame of a message."""
    return _JSON.encode(_plain(message))


def decode(frame: str | bytes, into: type[Specific]) -> Specific:
    """The message in a JSON text. Raises Invalid: no JSON, nested too deeply, a wrong type."""
    try:
        value: dict[str, object] = _expect(msgspec.json.decode(frame), dict, "the whole")
        _shallow(value, DEPTH_LIMIT)
        message = into()
        _fill(message, value)
    except (_Unfit, msgspec.DecodeError, UnicodeError, RecursionError) as error:
        reason = f"{error}" if isinstance(error, _Unfit) else "it is not JSON"
        raise Invalid(f"The frame cannot be read: {reason}.") from error
    return message


# --- out ---


def _plain(message: Message) -> dict[str, object]:
    """A message as JSON values."""
    values: dict[str, object] = {}
    for name, present, convert in _writer(message.DESCRIPTOR):
        if present and not message.HasField(name):
            if present > 1:
                values[name] = None
            continue
        value = getattr(message, name)
        values[name] = value if convert is None else convert(value)
    return values


@cache
def _writer(descriptor: Descriptor) -> tuple[tuple[str, int, Convert | None], ...]:
    """Name, 0 (always written), 1 (left out when unset) or 2 (then null), and the conversion."""
    table: list[tuple[str, int, Convert | None]] = []
    for field in descriptor.fields:
        plain_message = field.message_type is not None and field.containing_oneof is None
        present = (2 if plain_message else 1) if field.has_presence else 0
        table.append((field.name, present, _whole_out(field)))
    return tuple(table)


def _whole_out(field: FieldDescriptor) -> Convert | None:
    if (item := _map_value(field)) is not None:
        convert = _one_out(item)
        if convert is None:
            return dict[Any, Any]
        return lambda items: {key: convert(item) for key, item in items.items()}
    convert = _one_out(field)
    if not field.is_repeated:
        return convert
    return list[Any] if convert is None else lambda items: [convert(item) for item in items]


def _one_out(field: FieldDescriptor) -> Convert | None:
    if field.message_type is not None:
        return MessageToDict if field.message_type.full_name == STRUCT else _plain
    if field.cpp_type in _WIDE:
        return str
    if field.enum_type is not None:
        return partial(_enum_out, field.enum_type)
    return None


def _enum_out(kind: EnumDescriptor, number: int) -> object:
    known = kind.values_by_number.get(number)
    return number if known is None else known.name


# --- in ---


def _shallow(value: object, left: int) -> None:
    """Raises _Unfit when the value nests deeper than `left`."""
    if left < 0:
        raise _Unfit("it is nested too deeply")
    if isinstance(value, dict):
        for item in cast("dict[str, object]", value).values():
            _shallow(item, left - 1)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            _shallow(item, left - 1)


def _fill(message: Message, values: Mapping[str, object]) -> None:
    places = _reader(message.DESCRIPTOR)
    oneofs: set[str] = set()
    for name, value in values.items():
        field, place = places.get(name, (None, None))
        if field is None or place is None or value is None:
            continue
        oneof = field.containing_oneof
        if oneof is not None and field.has_presence and len(oneof.fields) > 1:
            if oneof.name in oneofs:
                raise _Unfit(f"it holds more than one {oneof.name}")
            oneofs.add(oneof.name)
        place(message, value)


@cache
def _reader(descriptor: Descriptor) -> Mapping[str, tuple[FieldDescriptor, Place]]:
    """Either name of a field -> what puts a value into it."""
    table: dict[str, tuple[FieldDescriptor, Place]] = {}
    for field in descriptor.fields:
        entry = (field, _place(field))
        table[field.name] = table[field.json_name] = entry
    return table


def _place(field: FieldDescriptor) -> Place:
    if (item := _map_value(field)) is not None:
        if item.message_type is not None:
            return partial(_put_named, field.name)
        return partial(_put_map, field.name, _one_in(item))
    if field.message_type is not None:
        fill = _put_struct if field.message_type.full_name == STRUCT else _put_message
        return (
            partial(_put_all, field.name, fill)
            if field.is_repeated
            else partial(_put_one, field.name, fill)
        )
    convert = _one_in(field)
    if field.is_repeated:
        return partial(_put_list, field.name, convert)
    return partial(_put_scalar, field.name, convert)


def _put_scalar(name: str, convert: Convert, message: Message, value: object) -> None:
    converted = convert(value)
    if converted is not None:
        setattr(message, name, converted)


def _put_list(name: str, convert: Convert, message: Message, value: object) -> None:
    items = [convert(item) for item in _expect(value, list, name)]
    getattr(message, name).extend([item for item in items if item is not None])


def _put_map(name: str, convert: Convert, message: Message, value: object) -> None:
    items = _expect(value, dict, name)
    getattr(message, name).update({key: convert(item) for key, item in items.items()})


def _put_named(name: str, message: Message, value: object) -> None:
    children = getattr(message, name)
    for key, item in _expect(value, dict, name).items():
        _fill(children[key], _expect(item, dict, name))


def _put_one(name: str, fill: Place, message: Message, value: object) -> None:
    child = getattr(message, name)
    child.SetInParent()
    fill(child, _expect(value, dict, name))


def _put_all(name: str, fill: Place, message: Message, value: object) -> None:
    children = getattr(message, name)
    for item in _expect(value, list, name):
        fill(children.add(), _expect(item, dict, name))


def _put_message(child: Message, value: Any) -> None:
    _fill(child, value)


def _put_struct(child: Message, value: Any) -> None:
    cast("Struct", child).update(value)


def _expect(value: object, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        raise _Unfit(f"{name} has a wrong type")
    return value


def _one_in(field: FieldDescriptor) -> Convert:
    if field.enum_type is not None:
        return partial(_enum_in, field.name, field.enum_type)
    match field.cpp_type:
        case _F.CPPTYPE_STRING:
            return lambda value: _expect(value, str, field.name)
        case _F.CPPTYPE_BOOL:
            return lambda value: _expect(value, bool, field.name)
        case _:
            bits = 64 if field.cpp_type in _WIDE else 32
            return partial(_integer, field.name, 1 << (bits - 1))


def _integer(name: str, limit: int, value: object) -> int:
    """A signed integer below `limit`, as a number or a text."""
    match value:
        case bool():
            number = None
        case int():
            number = value
        case float() if value.is_integer():
            number = int(value)
        case str() if _INTEGER.fullmatch(value):
            number = int(value)
        case _:
            number = None
    if number is None or not -limit <= number < limit:
        raise _Unfit(f"{name} is no integer of its size")
    return number


def _enum_in(name: str, kind: EnumDescriptor, value: object) -> int | None:
    """The number of a value; nothing for a name that came after us."""
    if isinstance(value, str):
        known = kind.values_by_name.get(value)
        return None if known is None else known.number
    return _integer(name, 1 << 31, value)


def _map_value(field: FieldDescriptor) -> FieldDescriptor | None:
    """What the values of a map are; None for a field that is no map."""
    kind = field.message_type
    if kind is None or not (kind.has_options and kind.GetOptions().map_entry):
        return None
    return kind.fields_by_name["value"]
