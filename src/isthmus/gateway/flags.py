"""Which feature flags of a request count; pure.

Source: HTTP gateway contract, section 10.2.
"""

from collections.abc import Collection, Mapping

from isthmus.core.identity import ClientInfo

EXPANDED_LOGGING = "expanded_ai_logging"


def effective(client: ClientInfo, barred: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """The flags as sent, in order and each once, without those `barred` for the client's realm."""
    flags = client.feature_flags
    if not flags:
        return ()
    dropped = barred.get(client.get("x-gitlab-realm"), ())
    return tuple(dict.fromkeys(flag for flag in flags if flag not in dropped))
