"""Our own keys, read as they are: nothing is made, and no private part leaves this module."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from isthmus.adapters.keysets.keyfile import FILE_NAME
from isthmus.auth.issue import SigningKey, Stamp, UnusableKey, development_claims
from isthmus.core.errors import CannotSign
from isthmus.settings import Settings

SUBJECT = "doctor"
TOKEN_S = 120
SCOPES = ("complete_code",)


@dataclass(frozen=True, slots=True)
class Kept:
    """The key in the data folder; `fault` says why there is none."""

    path: Path
    key: SigningKey | None = field(default=None, repr=False)
    fault: str = ""


def kept_key(settings: Settings) -> Kept:
    """The key that the server made. Blocking."""
    path = settings.data_dir / FILE_NAME
    try:
        return Kept(path, SigningKey.from_pem(path.read_bytes(), made_here=True))
    except FileNotFoundError:
        return Kept(path)
    except UnusableKey as error:
        return Kept(path, fault=str(error))
    except OSError as error:
        return Kept(path, fault=error.strerror or "not readable")


def signing_key(settings: Settings) -> SigningKey | None:
    """A key whose tokens both listeners accept; None when there is none yet. Blocking."""
    kept = kept_key(settings)
    if kept.key is not None:
        return kept.key
    for secret in (settings.auth.signing_key, settings.auth.platform_signing_key):
        if secret.get_secret_value().strip():
            try:
                return SigningKey.from_pem(secret.get_secret_value())
            except UnusableKey:
                continue
    return None


def headers_of(settings: Settings, key: SigningKey) -> tuple[tuple[str, str], ...]:
    """Headers by which the listeners know the doctor, for two minutes. Raises CannotSign."""
    audience = (settings.auth.service_name, settings.auth.platform_service_name)
    stamp = Stamp(int(time.time()), str(uuid4()))
    token = key.sign(development_claims(SUBJECT, SCOPES, audience, TOKEN_S, stamp))
    return (
        ("authorization", f"Bearer {token}"),
        ("x-gitlab-authentication-type", "oidc"),
        ("x-gitlab-instance-id", SUBJECT),
    )


def credentials(settings: Settings) -> tuple[tuple[str, str], ...]:
    """As `headers_of`, with the key that there is; empty when there is none. Blocking."""
    key = signing_key(settings)
    try:
        return () if key is None else headers_of(settings, key)
    except CannotSign:
        return ()
