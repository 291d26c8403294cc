"""Which doors stand open: the development switches that let callers in without a token."""

from isthmus.settings import AuthSettings

MEANING = {
    "auth.enabled": "off: every call to the agent platform runs as a debug user",
    "auth.bypass_external": "every HTTP call runs as a debug user",
    "auth.bypass_external_with_header": "so does an HTTP call with `Bypass-Auth: true`",
    "auth.bypass_jwt_signature": "signatures of HTTP callers' tokens are not checked",
}
"""Setting -> what it does while it is not at its default."""


def bypasses(settings: AuthSettings) -> tuple[str, ...]:
    """The settings in force that weaken authentication, as paths of `MEANING`."""
    in_force = (
        not settings.enabled,
        settings.bypass_external,
        settings.bypass_external_with_header,
        settings.bypass_jwt_signature,
    )
    return tuple(name for name, weak in zip(MEANING, in_force, strict=True) if weak)
