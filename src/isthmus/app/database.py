"""Where records are kept."""

from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from isthmus.settings import Settings

SQLITE_FILE = "isthmus.db"
_SQLITE = "sqlite:///"


def database_url(settings: Settings) -> str:
    """As set, or a file in the data directory.

    A PostgreSQL that is to be verified is so by `outbound.ca_file`, unless the URL says by what.
    """
    url = settings.database.url.get_secret_value()
    if not url:
        return f"{_SQLITE}{settings.data_dir.absolute() / SQLITE_FILE}"
    authorities = settings.outbound.ca_file
    query = dict(parse_qsl(urlsplit(url).query))
    verified = query.get("sslmode") in {"verify-ca", "verify-full"} and "sslrootcert" not in query
    if not verified or authorities is None or authorities.is_dir():
        return url
    return f"{url}&{urlencode({'sslrootcert': str(authorities.absolute())})}"


def database_file(settings: Settings) -> Path | None:
    """The SQLite file; None where it is something else."""
    scheme, _, path = database_url(settings).partition(_SQLITE)
    return Path(path) if not scheme and path and "?" not in path and path != ":memory:" else None
