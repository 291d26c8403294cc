"""`isthmus token`: prints a bearer token, signed by the local key, for development."""

import argparse
import difflib
import sys
import time
from uuid import uuid4

from isthmus.adapters.keysets.keyfile import FILE_NAME, load_or_create
from isthmus.auth.issue import SigningKey, Stamp, UnusableKey, development_claims
from isthmus.auth.scopes import UNIT_PRIMITIVES
from isthmus.core.errors import CannotSign
from isthmus.settings import Settings

TTL_LEAST_S = 60
TTL_MOST_S = 30 * 24 * 3600
TTL_DEFAULT_S = 3600
SUBJECT_LIMIT_CHARS = 256


def add(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",  # pyright: ignore[reportPrivateUsage] - argparse has no public name for it
) -> None:
    """Declare the command's arguments; `run` is put into the namespace."""
    parser = subparsers.add_parser(
        "token",
        help="print a development token",
        description=(
            "Print a bearer token that this server accepts, signed by its own key. Send the "
            "subject in X-Gitlab-Instance-Id, and `oidc` in X-Gitlab-Authentication-Type."
        ),
    )
    parser.add_argument("--subject", required=True, metavar="S", help="who the token is for")
    parser.add_argument(
        "--scope",
        required=True,
        nargs="+",
        action="extend",
        metavar="NAME",
        help="a permission, such as complete_code or duo_chat; may be repeated",
    )
    parser.add_argument(
        "--ttl",
        type=int,
        default=TTL_DEFAULT_S,
        metavar="SECONDS",
        help=f"lifetime, {TTL_LEAST_S} to {TTL_MOST_S} (default {TTL_DEFAULT_S})",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the token alone on stdout. Returns 0, or 2 with the reason on stderr."""
    faults = _faults(args.subject, args.scope, args.ttl)
    if faults:
        return _refuse(*faults)
    try:
        token = mint(settings, args.subject, tuple(dict.fromkeys(args.scope)), args.ttl)
    except UnusableKey as error:
        return _refuse(f"auth.signing_key: {error}")
    except (ValueError, OSError, CannotSign) as error:
        return _refuse(str(error))
    sys.stdout.write(token + "\n")
    return 0


def mint(settings: Settings, subject: str, scopes: tuple[str, ...], ttl_s: int) -> str:
    """A development token for both listeners.

    Raises UnusableKey (of `auth.signing_key`), UnsafeKeyFile, OSError or CannotSign. Blocking.
    """
    auth = settings.auth
    audience = (auth.service_name, auth.platform_service_name)
    stamp = Stamp(int(time.time()), str(uuid4()))
    return signing_key(settings).sign(development_claims(subject, scopes, audience, ttl_s, stamp))


def has_key(settings: Settings) -> bool:
    """Whether there is a key to sign with; `signing_key` would make one that no server knows."""
    return bool(_given_key(settings)) or (settings.data_dir / FILE_NAME).exists()


def signing_key(settings: Settings) -> SigningKey:
    """The key that both listeners trust. Blocking.

    It is the one of `auth.signing_key`, unless the platform has its own; else the one kept in the
    data directory. Raises UnusableKey, UnsafeKeyFile or OSError.
    """
    pem = _given_key(settings)
    return SigningKey.from_pem(pem) if pem else load_or_create(settings.data_dir / FILE_NAME)


def _given_key(settings: Settings) -> str:
    pem = settings.auth.signing_key.get_secret_value()
    own = settings.auth.platform_signing_key.get_secret_value()
    return pem if pem.strip() and not own.strip() else ""


def _faults(subject: str, scopes: list[str], ttl_s: int) -> list[str]:
    faults: list[str] = []
    if not subject.isascii() or not subject.isprintable() or not subject.strip():
        faults.append("--subject must be printable ASCII text")
    if len(subject) > SUBJECT_LIMIT_CHARS:
        faults.append(f"--subject must have at most {SUBJECT_LIMIT_CHARS} characters")
    if not TTL_LEAST_S <= ttl_s <= TTL_MOST_S:
        faults.append(f"--ttl must be from {TTL_LEAST_S} to {TTL_MOST_S} seconds")
    for name in scopes:
        if name not in UNIT_PRIMITIVES:
            close = difflib.get_close_matches(name[:100], sorted(UNIT_PRIMITIVES))
            meant = f"; did you mean {', '.join(close)}?" if close else ""
            faults.append(f"--scope {name[:100]!r} is not known{meant}")
    return faults


def _refuse(*reasons: str) -> int:
    for reason in reasons:
        sys.stderr.write(f"isthmus token: {reason}\n")
    return 2
