"""Signs a call with a static key."""

from collections.abc import Callable

from pydantic import SecretStr

from isthmus.adapters.providers._spec import Headers


def api_key(key: SecretStr, header: str, scheme: str = "") -> Callable[[], Headers]:
    """A signer that sends `key` in `header`, after `scheme`; it sends nothing when there is no key.

    A server of the operator's own often needs none.
    """

    secret = key.get_secret_value()
    signature = ((header, f"{scheme}{secret}"),) if secret else ()
    return lambda: signature
