"""Model metadata as JSON: what callers say of the model that they want, and what records keep.

Source: HTTP gateway contract, section 6.3; agent-platform contract, section 6.6.
"""

from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Raw, Struct

from isthmus.core.messages import ModelMetadata

MAX_CHARS = 16_384
_Upto255 = Annotated[str, Meta(max_length=255)]


class MetadataBody(Struct, frozen=True, kw_only=True):
    """What a caller says of the model that it wants; unknown members are ignored."""

    provider: _Upto255
    name: _Upto255 | None = None
    identifier: Annotated[str, Meta(max_length=1000)] | None = None
    endpoint: _Upto255 | None = None
    api_key: Annotated[str, Meta(max_length=2000)] | None = None
    feature_setting: _Upto255 | None = None
    role_arn: _Upto255 | None = None

    def __post_init__(self) -> None:
        if self.endpoint and not _absolute(self.endpoint):
            raise ValueError("`endpoint` must be an absolute http or https URL")

    def metadata(self) -> ModelMetadata:
        """The same, without what was left out."""
        return ModelMetadata(
            provider=self.provider,
            name=self.name or "",
            identifier=self.identifier or "",
            endpoint=(self.endpoint or "").rstrip("/"),
            api_key=self.api_key or "",
            feature_setting=self.feature_setting or "",
            role_arn=self.role_arn or "",
        )


_decode = msgspec.json.Decoder(MetadataBody).decode


def strict(text: Raw | str) -> ModelMetadata:
    """The metadata. Raises ValueError with a sentence that names the fault."""
    try:
        return _decode(text).metadata()
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def lenient(text: Raw | str) -> ModelMetadata | None:
    """The metadata; None when it cannot be used."""
    if isinstance(text, str) and len(text) > MAX_CHARS:
        return None
    try:
        return strict(text)
    except ValueError:
        return None


def _absolute(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
