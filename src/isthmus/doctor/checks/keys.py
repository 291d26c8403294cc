"""The keys that sign and verify tokens."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from isthmus.auth.issue import SigningKey, UnusableKey, verification_key
from isthmus.core.ports import VerificationKey
from isthmus.doctor.case import Case
from isthmus.doctor.finding import Finding, Subject
from isthmus.doctor.own import kept_key

GENERATE: Final = "isthmus keys generate --out signing_key.pem"
SIGNING: Final = ("auth.signing_key", "auth.platform_signing_key")
VALIDATION: Final = {
    "auth.validation_key": "auth.signing_key",
    "auth.platform_validation_key": "auth.platform_signing_key",
}


async def check(case: Case) -> Sequence[Finding]:
    """A finding for each key that is set, and for the one that the server makes."""
    return await asyncio.to_thread(lambda: list(_look(case)))


def _look(case: Case) -> Iterator[Finding]:
    texts = {path: _text(case, path) for path in (*SIGNING, *VALIDATION)}
    public: dict[str, VerificationKey] = {}
    for path in SIGNING:
        if texts[path]:
            subject = Subject("keys.signing", f"{path} ({case.source(path)})")
            try:
                public[path] = SigningKey.from_pem(texts[path]).public("")
            except UnusableKey as error:
                yield subject.fail(str(error), path, f"{GENERATE}, and set {path} to what is in it")
            else:
                yield subject.ok(f"RSA, {public[path].n.bit_length()} bits")
    for path, signing in VALIDATION.items():
        if texts[path]:
            yield _validation(case, path, signing, texts[path], public.get(signing))
    yield from _kept(case)


def _validation(
    case: Case, path: str, signing: str, text: str, current: VerificationKey | None
) -> Finding:
    subject = Subject("keys.validation", f"{path} ({case.source(path)})")
    try:
        key = verification_key(text, "")
    except UnusableKey as error:
        return subject.fail(
            str(error), path, f"set {path} to the former {signing}, or leave it out"
        )
    if current is not None and key.n == current.n:
        cause = f"it is the same key as {signing}, so tokens of a former key are refused"
        return subject.warn(cause, path, f"set {path} to the former key, or leave it out")
    return subject.ok(f"RSA, {key.n.bit_length()} bits")


def _kept(case: Case) -> Iterator[Finding]:
    kept = kept_key(case.settings)
    subject = Subject("keys.made", str(kept.path))
    if kept.fault:
        mend = f"rm {kept.path}, and restart: a new one is made"
        yield subject.fail(kept.fault, "data_dir", mend)
    elif kept.key is None:
        yield subject.skip("none yet: the server makes it at its first start")
    else:
        yield subject.ok(f"RSA, {kept.key.public('').n.bit_length()} bits")


def _text(case: Case, path: str) -> str:
    secret = getattr(case.settings.auth, path.partition(".")[2])
    return str(secret.get_secret_value()).strip()
