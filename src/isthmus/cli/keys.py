"""`isthmus keys generate | rotate | show`: the RSA keys that sign our tokens."""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

from isthmus.adapters.keysets.keyfile import (
    FILE_NAME,
    FORMER_KID,
    LOCAL_KID,
    UnsafeKeyFile,
    load_former,
    load_or_create,
    put,
    rotate,
)
from isthmus.auth.issue import (
    SigningKey,
    UnusableKey,
    new_private_key_pem,
    signing_kid,
    verification_key,
)
from isthmus.auth.strict import encode_base64url
from isthmus.core.ports import VerificationKey
from isthmus.settings import Settings, read

SIZES: Final = (2048, 3072, 4096)
_SET: Final = ("auth.signing_key", "auth.platform_signing_key")


def add(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",  # pyright: ignore[reportPrivateUsage] - argparse has no public name for it
) -> None:
    """Declare the command's arguments; `run` is put into the namespace."""
    parser = subparsers.add_parser("keys", help="make, change and show the keys that sign tokens")
    actions = parser.add_subparsers(metavar="generate|rotate|show", required=True)
    generate = actions.add_parser(
        "generate",
        help="make a key",
        description="Make an RSA key, PEM. Nothing that the server uses is changed.",
    )
    generate.add_argument(
        "--out", type=Path, metavar="FILE", help="a new file of mode 0600; default: stdout"
    )
    generate.add_argument("--bits", type=int, choices=SIZES, default=SIZES[0])
    generate.set_defaults(do=_generate)
    change = actions.add_parser(
        "rotate",
        help="put a new key in the place of the one that is used",
        description=(
            "Put a new key into the data folder; tokens of the one before it stay accepted. Where "
            "keys are set from outside, write the files and say which settings take them."
        ),
    )
    change.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        default=Path(),
        help="folder of the files, where keys are set from outside (default: this one)",
    )
    change.set_defaults(do=_rotate)
    show = actions.add_parser("show", help="show ids, sizes, fingerprints and public keys")
    show.add_argument("--json", action="store_true", help="print them as JSON, with public JWKs")
    show.set_defaults(do=_show)
    for each in (generate, change, show):
        each.add_argument("--config", type=Path, metavar="FILE", help="settings file (YAML)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Do it. Returns 0, or 2 with the reason on stderr."""
    try:
        return int(args.do(args, settings))
    except UnsafeKeyFile as error:
        return _refuse(f"data_dir: {error}")
    except FileNotFoundError as error:
        return _refuse(
            f"{error.filename}: there is no such file; the server makes a key when it starts"
        )
    except OSError as error:
        return _refuse(f"{error.filename}: {error.strerror}")


def _generate(args: argparse.Namespace, settings: Settings) -> int:
    del settings
    out = cast("Path | None", args.out)
    if out is None:
        sys.stdout.write(new_private_key_pem(args.bits).decode())
        return 0
    if out.exists():
        return _refuse(f"{out} exists: it is not replaced")
    put(out, new_private_key_pem(args.bits))
    sys.stdout.write(f"{out}: RSA, {args.bits} bits, for its owner alone\n")
    return 0


def _rotate(args: argparse.Namespace, settings: Settings) -> int:
    given = [path for path in _SET if _text(settings, path)]
    if given:
        return _steps(args, settings, given)
    new, old = rotate(settings.data_dir)
    lines = (
        f"signs:    {fingerprint(new)}  {settings.data_dir / FILE_NAME}",
        f"accepted: {fingerprint(old)}  the key before it",
        "Restart every server on this data. What was rotated out earlier is no longer accepted.",
    )
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def _steps(args: argparse.Namespace, settings: Settings, given: list[str]) -> int:
    """Files for keys that are set from outside, and what to set where."""
    _, sources = read(args.config)
    folder = cast("Path", args.out)
    for path in given:
        try:
            old = SigningKey.from_pem(_text(settings, path))
        except UnusableKey as error:
            return _refuse(f"{path}: {error}")
        name = path.rpartition(".")[2]
        fresh, former = folder / f"{name}.new.pem", folder / f"{name}.former.pem"
        for file in (fresh, former):
            if file.exists():
                return _refuse(f"{file} exists: it is not replaced")
        put(fresh, new_private_key_pem())
        put(former, old.public_pem())
        validation = path.replace("signing", "validation")
        lines = (
            f"{path} is set by {sources.get(path, 'the settings')}. To change it:",
            f"  1. set {validation} to what is in {former}",
            f"  2. set {path} to what is in {fresh}",
            "  3. restart every server; an hour later the former key may go",
        )
        sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def _show(args: argparse.Namespace, settings: Settings) -> int:
    rows = list(_keys(settings))
    if args.json:
        told = [
            {
                "source": source,
                "signs": signs,
                "bits": key.n.bit_length(),
                "fingerprint": fingerprint(key),
                "jwk": jwk_of(key),
            }
            for source, signs, key in rows
        ]
        sys.stdout.write(json.dumps({"keys": told}, indent=2) + "\n")
        return 0
    for source, signs, key in rows:
        use = "signs" if signs else "accepted"
        bits = key.n.bit_length()
        sys.stdout.write(f"{use:<8}  {key.kid}  RSA {bits}  {fingerprint(key)}  {source}\n")
    return 0


def _keys(settings: Settings) -> Iterator[tuple[str, bool, VerificationKey]]:
    """Source, whether it signs, and the public half of each key that is there."""
    auth = settings.auth
    services = (("", auth.service_name), ("platform_", auth.platform_service_name))
    for prefix, service in services:
        for kind, kid in (
            ("signing", signing_kid(service)),
            ("validation", f"{service}_validation_key"),
        ):
            path = f"auth.{prefix}{kind}_key"
            text = _text(settings, path)
            if text:
                try:
                    yield path, kind == "signing", verification_key(text, kid)
                except UnusableKey as error:
                    _refuse(f"{path}: {error}")
    made = settings.data_dir / FILE_NAME
    if made.exists():
        local = not any(_text(settings, path) for path in _SET)
        yield str(made), local, load_or_create(made).public(LOCAL_KID)
    former = load_former(settings.data_dir)
    if former is not None:
        yield FORMER_KID, False, former


def fingerprint(key: VerificationKey) -> str:
    """The thumbprint of a public key, by RFC 7638."""
    jwk = jwk_of(key)
    text = json.dumps({name: jwk[name] for name in ("e", "kty", "n")}, separators=(",", ":"))
    return f"SHA256:{encode_base64url(hashlib.sha256(text.encode()).digest())}"


def jwk_of(key: VerificationKey) -> dict[str, str]:
    """A public key as JWK."""
    numbers = {
        name: encode_base64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))
        for name, value in (("n", key.n), ("e", key.e))
    }
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": key.kid, **numbers}


def _text(settings: Settings, path: str) -> str:
    secret = getattr(settings.auth, path.partition(".")[2])
    return str(secret.get_secret_value()).strip()


def _refuse(reason: str) -> int:
    sys.stderr.write(f"isthmus keys: {reason}\n")
    return 2
