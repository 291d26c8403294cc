"""When a chain of certificates ends. Loaded late: a server without TLS needs none of it."""

from cryptography.x509 import load_pem_x509_certificates


def ends_at_s(chain: bytes) -> float | None:
    """When the first of the certificates (PEM) ends, in seconds since the epoch.

    None when they cannot be read: OpenSSL, which serves by them, forgives more.
    """
    try:
        ends = [one.not_valid_after_utc for one in load_pem_x509_certificates(chain)]
    except ValueError:
        return None
    return min(ends).timestamp()
