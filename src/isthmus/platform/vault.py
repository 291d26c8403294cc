"""What stands in the place of a session's secrets, and how it is undone for its own executor.

A vault lives in memory alone: never in a checkpoint, a fact or a log. Its marks are stable within a
session, and say nothing of the secret to whoever lacks the session's salt.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2s

from isthmus.core.errors import ToolRefused
from isthmus.redaction.rules import MARK, Found, Rules, decoded, encoded, replaced

MOST_SECRETS = 256
MOST_CHARS = 16_384
MOST_SESSIONS = 1_000
_SHORT, _LONG = 4, 16
_MARK = re.compile(r"\[REDACTED:([a-z0-9-]{1,48}):([0-9a-f]{4,16})\]")
GONE = (
    "The arguments hold {mark}, which stands for a secret that is no longer known here. Read the"
    " file again, and leave the secret's line as it is."
)


class Vault:
    """The secrets of one session. `salt` is random, and kept nowhere else."""

    def __init__(self, rules: Rules, salt: bytes) -> None:
        self._rules = rules
        self._salt = salt
        self._secrets: dict[str, str] = {}

    def mark(self, rule: str, secret: str) -> str:
        """`[REDACTED:<rule>:<digits>]`; without digits where the secret is not kept."""
        digest = blake2s(encoded(secret), key=self._salt, digest_size=_LONG // 2).hexdigest()
        for size in range(_SHORT, _LONG + 1, 4):
            name = digest[:size]
            known = self._secrets.get(name)
            if known is None:
                if len(self._secrets) >= MOST_SECRETS or len(secret) > MOST_CHARS or not secret:
                    return MARK
                self._secrets[name] = known = secret
            if known == secret:
                return f"[REDACTED:{rule}:{name}]"
        return MARK

    def hide(self, text: str) -> str:
        """The text with marks in the places of secrets; the same object when it has none."""
        data = encoded(text)
        found = self._rules.found(data)
        return decoded(replaced(data, found, self._marked)) if found else text

    def quoted(self, arguments: str) -> bool:
        """Whether a tool's arguments hold marks."""
        return "[REDACTED:" in arguments and _MARK.search(arguments) is not None

    def restored(self, arguments: str) -> str:
        """A tool's arguments, JSON text, with the secrets in their places.

        Raises ToolRefused at a mark that is not known: written to a file, it would be all that is
        left of the secret.
        """
        return _MARK.sub(self._secret, arguments)

    def _marked(self, one: Found, secret: bytes) -> bytes:
        return self.mark(one.shape.name, decoded(secret)).encode()

    def _secret(self, mark: re.Match[str]) -> str:
        secret = self._secrets.get(mark[2])
        if secret is None:
            raise ToolRefused(GONE.format(mark=mark[0]))
        return json.dumps(secret)[1:-1]


def plain(text: str) -> str:
    """The text as a person sees it: every mark is `[REDACTED]`."""
    return _MARK.sub(MARK, text)


class Vaults:
    """The vaults of the sessions that ran last. `salt` gives 32 random bytes."""

    def __init__(self, rules: Rules, salt: Callable[[], bytes], most: int = MOST_SESSIONS) -> None:
        self._rules = rules
        self._salt = salt
        self._most = most
        self._vaults: OrderedDict[str, Vault] = OrderedDict()

    def of(self, session: str) -> Vault:
        """The session's vault; made when there is none."""
        vault = self._vaults.pop(session, None)
        if vault is None:
            vault = Vault(self._rules, self._salt())
        self._vaults[session] = vault
        if len(self._vaults) > self._most:
            self._vaults.popitem(last=False)
        return vault
