"""Keys that settings name: our own signing key and the one it replaced."""

from isthmus.auth.issue import UnusableKey, signing_kid, verification_key
from isthmus.core.events import Noted
from isthmus.core.ports import Telemetry, VerificationKey


def local_keys(
    service_name: str, signing_pem: str, validation_pem: str, telemetry: Telemetry
) -> tuple[VerificationKey, ...]:
    """Public halves of a service's own keys; empty texts are left out.

    A key that cannot be used is told as an error and left out, and the other one stays.
    """
    named = (
        (signing_kid(service_name), signing_pem),
        (f"{service_name}_validation_key", validation_pem),
    )
    found: list[VerificationKey] = []
    for kid, pem in named:
        if not pem.strip():
            continue
        try:
            found.append(verification_key(pem, kid))
        except UnusableKey as error:
            details = (("key", kid), ("reason", str(error)))
            telemetry.emit(Noted("error", "authentication.key_unusable", details))
    return tuple(found)
