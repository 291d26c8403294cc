"""GitLab instances that share this server: whose tokens they are, and what each may use.

A caller's instance is the one whose keys verify its token, never one that a header names.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal, cast
from urllib.parse import urlsplit
from zlib import crc32

from pydantic import Field, ValidationError, field_validator, model_validator

from isthmus.settings_group import Group
from isthmus.settings_limits import LimitRule, LimitsSettings

SLOTS: Final = 2**14
"""Into so many parts the numbers of records are divided, one of them for each instance."""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_REGION: Final = re.compile(r"[a-z0-9][a-z0-9-]*\*?")


class InstanceModels(Group):
    """Which models of the catalogue an instance may use."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    defaults: dict[str, tuple[str, ...]] = Field(default={})


class ListedInstance(Group):
    """One GitLab instance.

    `url` is where its keys are published, `issuer` what its tokens say in `iss`, where that is
    another address. `region` are names of regions, which may end with `*`.
    """

    url: str
    issuer: str = ""
    realm: Literal["", "saas", "self-managed"] = ""
    models: InstanceModels = InstanceModels()
    region: tuple[str, ...] = ()
    limits: tuple[LimitRule, ...] = ()

    @field_validator("region", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) and value else value or ()

    @field_validator("url", "issuer")
    @classmethod
    def _is_plain(cls, value: str) -> str:
        plain = value.strip().rstrip("/")
        parts = urlsplit(plain)
        if value and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("must be an http(s) URL")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("must hold no credentials, query or fragment")
        return plain

    @model_validator(mode="after")
    def _makes_sense(self) -> "ListedInstance":
        if not self.url:
            raise ValueError("`url` must not be empty")
        for region in self.region:
            if not _REGION.fullmatch(region):
                raise ValueError(
                    f"`region` must name regions, such as `eu-west-1` or `eu*`: {region!r}"
                )
        for rule in self.limits:
            if "instance" in rule.where:
                raise ValueError(f"`limits`: rule {rule.name!r} is for this instance alone already")
        return self

    @property
    def iss(self) -> str:
        """What its tokens say in `iss`, without a slash at the end."""
        return self.issuer or self.url


Instances = Mapping[str, ListedInstance]


def listed(value: object) -> object:
    """The instances; what is wrong is told with the name and the key. Raises ValueError."""
    if not isinstance(value, Mapping):
        return value
    found: dict[str, ListedInstance] = {}
    for key, one in cast("Mapping[object, object]", value).items():
        name = str(key)
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} must be 1 to 32 of a-z, 0-9, `_` and `-`")
        try:
            found[name] = ListedInstance.model_validate(one)
        except ValidationError as error:
            raise ValueError(_fault(name, error)) from None
    _differ(found)
    return found


def slot(name: str) -> int:
    """Which part of the numbers of records is an instance's; 0 is of those that are not listed."""
    return crc32(name.encode()) % (SLOTS - 1) + 1 if name else 0


def with_instances(limits: LimitsSettings, instances: Instances) -> LimitsSettings:
    """The limits with the rules of each instance before the common ones, as exceptions stand."""
    rules = [
        rule.model_copy(
            update={"name": f"{name}.{rule.name}", "where": {**rule.where, "instance": (name,)}}
        )
        for name, one in instances.items()
        for rule in one.limits
    ]
    return limits.model_copy(update={"rules": (*rules, *limits.rules)}) if rules else limits


def _differ(found: Instances) -> None:
    for what, keys in (
        ("issuer", {name: one.iss for name, one in found.items()}),
        ("number; rename one", {name: slot(name) for name in found}),
    ):
        first: dict[object, str] = {}
        for name, key in keys.items():
            if key in first:
                raise ValueError(f"{first[key]!r} and {name!r} have the same {what}")
            first[key] = name


def _fault(name: str, error: ValidationError) -> str:
    """The first fault of an instance: which one it is, and which of its keys."""
    found = error.errors(include_url=False, include_context=False, include_input=False)[0]
    key = ".".join(str(part) for part in found["loc"])
    return f"{name}{'.' if key else ''}{key}: {found['msg']}"
