"""The branch of the settings tree for MCP servers whose tools every session may use."""

import re
from collections.abc import Mapping
from typing import Final, Literal, cast

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator

from isthmus.settings_group import Group, sendable

MOST_SERVERS: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,30}[A-Za-z0-9])?")


class McpServer(Group):
    """One server: a program that speaks over its pipes, or an address.

    `allow`, `deny` and `definitions` are patterns, as file names have them. With `approve` at
    `always` nobody is asked before a call; a `trusted` one describes its tools without a warning.
    """

    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, SecretStr] = Field(default={})
    url: str = ""
    headers: dict[str, SecretStr] = Field(default={})
    trusted: bool = False
    approve: Literal["ask", "always"] = "ask"
    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()
    definitions: tuple[str, ...] = ("*",)
    max_tools: int = Field(default=100, ge=1, le=500)
    connect_s: float = Field(default=10.0, gt=0, le=120)
    call_s: float = Field(default=120.0, gt=0, le=3_600)

    @model_validator(mode="after")
    def _is_one_of_two(self) -> "McpServer":
        if bool(self.command) == bool(self.url):
            raise ValueError("needs either a `command` or a `url`")
        if self.url and not self.url.startswith(("http://", "https://")):
            raise ValueError("`url` must be an http(s) URL")
        if self.url and (self.args or self.env):
            raise ValueError("`args` and `env` are for a `command`")
        if self.command and self.headers:
            raise ValueError("`headers` are for a `url`")
        return self

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        return sendable(headers)

    @field_validator("env")
    @classmethod
    def _settable(cls, env: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in env.items():
            if not name or "=" in name or "\0" in name + value.get_secret_value():
                raise ValueError("a variable has a name without `=`, and no NUL character")
        return env


class McpSettings(Group):
    """MCP servers of this server's own, besides those that clients bring."""

    servers: dict[str, McpServer] = Field(
        default={},
        description="MCP servers whose tools sessions may use, by name; `docs/guide/mcp.md`.",
    )

    @field_validator("servers", mode="before")
    @classmethod
    def _tell_their_faults(cls, value: object) -> object:
        """What is wrong is told with the name and the key, and never with what stands there."""
        if not isinstance(value, Mapping):
            return value
        given = cast("Mapping[object, object]", value)
        if len(given) > MOST_SERVERS:
            raise ValueError(f"at most {MOST_SERVERS} servers")
        return {str(name): _server(str(name), one) for name, one in given.items()}


def _server(name: str, one: object) -> McpServer:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:64]!r} must be 1 to 32 letters, digits, `_` and `-` in between")
    try:
        return one if isinstance(one, McpServer) else McpServer.model_validate(one)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[0]
        key = ".".join(str(part) for part in found["loc"])
        raise ValueError(f"{name}{'.' if key else ''}{key}: {found['msg']}") from None
