"""What every group of settings is: a frozen model that knows all of its keys.

A validator is built for the groups that were given something, and for no other: most starts give a
few keys, and all of the validators together would cost a sixth of the start.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, SecretStr
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_plain_validator_function

NONE = SecretStr("")
"""A secret that was not given."""

_inside: ContextVar[bool] = ContextVar("inside", default=False)


class Group(BaseModel):
    """One branch of the settings tree. Its defaults are valid without being looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    def __init__(self, **given: Any) -> None:
        if given or any(info.is_required() for info in type(self).model_fields.values()):
            super().__init__(**given)
            return
        defaults = type(self).model_construct()
        for slot in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__"):
            object.__setattr__(self, slot, getattr(defaults, slot))
        object.__setattr__(self, "__pydantic_private__", None)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[BaseModel], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """The group's own schema; inside another group's, one that waits for a value."""
        if _inside.get():
            return no_info_plain_validator_function(_waiting(source))
        token = _inside.set(True)
        try:
            return handler(source)
        finally:
            _inside.reset(token)


def _waiting(group: type[BaseModel]) -> Callable[[object], object]:
    def validated(value: object) -> object:
        return value if isinstance(value, group) else group.model_validate(value)

    return validated


def sendable(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    """Headers that may be sent as they are. Raises ValueError, which repeats none of them."""
    for name, value in headers.items():
        text = value.get_secret_value()
        if not (name.isascii() and name.replace("-", "").replace("_", "").isalnum()):
            raise ValueError("a header's name has letters, digits and dashes")
        if not (text.isascii() and text.isprintable()):
            raise ValueError("a header's value is one line of ASCII")
    return headers
