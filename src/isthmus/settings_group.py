"""What every group of settings is: a frozen model that knows all of its keys."""

from pydantic import BaseModel, ConfigDict, SecretStr

NONE = SecretStr("")
"""A secret that was not given."""


class Group(BaseModel):
    """One branch of the settings tree."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
