"""Signs a call with a static key: the operator's, or the one that the caller brings."""

from pydantic import SecretStr

from isthmus.adapters.providers._spec import Headers
from isthmus.core.deadline import Deadline


class ApiKey:
    """Sends a key in `header`, after `scheme`; nothing when there is none. Implements `Signer`.

    A server of the operator's own often needs none.
    """

    stale = False

    def __init__(self, key: SecretStr, header: str, scheme: str = "") -> None:
        self._header = header
        self._scheme = scheme
        self._own = self._signature(key.get_secret_value())

    async def renew(self, deadline: Deadline) -> None:
        """A static key never changes."""

    def headers(self, _method: str, _url: str, _body: bytes, api_key: str, /) -> Headers:
        """The one header, or none."""
        return self._signature(api_key) if api_key else self._own

    def _signature(self, key: str) -> Headers:
        return ((self._header, f"{self._scheme}{key}"),) if key else ()
