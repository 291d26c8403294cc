"""The branch of the settings tree that says what may leave to models, and what may come back."""

from typing import Literal

from pydantic import Field

from isthmus.settings_group import Group

Mode = Literal["off", "shadow", "redact", "block"]


class OwnRule(Group):
    """A shape of secret of your own; `docs/guide/redaction.md` says how to write one."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,48}$", description="Its name in marks and facts.")
    secret: str = Field(description="Pattern (RE2) of what goes.")
    needles: tuple[str, ...] = Field(default=(), description="Texts of which one begins a secret.")
    lead: str = Field(default="", description="Pattern of what stands before it, and stays.")
    follow: str = Field(default="", description="Pattern of the one character behind it.")
    run: str = Field(default="", description="Pattern of one character of it.")
    entropy: tuple[float, float] = Field(
        default=(0.0, 0.0),
        description="Least entropy, in bits a byte, with a digit in it and without.",
    )
    allow: tuple[str, ...] = Field(default=(), description="Patterns of texts that are none.")


class RedactionOverride(Group):
    """What holds for a feature, a destination, or both, instead of the general modes."""

    feature: str = Field(default="", description="Feature setting; empty: every one.")
    destination: str = Field(default="", description="Provider or deployment; empty: every one.")
    prompt: Mode | None = Field(default=None, description="Mode of prompts.")
    tool_result: Mode | None = Field(default=None, description="Mode of tool results in them.")
    answer: Mode | None = Field(default=None, description="Mode of answers.")


class RedactionSettings(Group):
    """Secrets in what goes to models and comes back: left alone, told of, replaced, or refused."""

    prompt: Mode = Field(
        default="off", description="Prompts, texts for embeddings and forwarded bodies."
    )
    tool_result: Mode = Field(default="off", description="Tool results inside prompts.")
    answer: Mode = Field(default="off", description="Answers, whole and streamed.")
    overrides: tuple[RedactionOverride, ...] = Field(
        default=(), description="Exceptions by feature and destination; the first that fits holds."
    )
    window_bytes: int = Field(
        default=4_096, ge=4_096, le=1 << 20, description="Most of a stream that is held back."
    )
    rules: tuple[OwnRule, ...] = Field(default=(), description="Further shapes of secrets.")
    disabled: tuple[str, ...] = Field(default=(), description="Names of rules that are not used.")
    allow: tuple[str, ...] = Field(
        default=(), description="Patterns of texts that are no secret, whatever rule finds them."
    )
    exceptions: dict[str, tuple[str, ...]] = Field(
        default={}, description="Rule -> patterns of texts that are no secret of this rule."
    )
