"""Where records are kept."""

from pathlib import Path

from isthmus.settings import Settings

SQLITE_FILE = "isthmus.db"
_SQLITE = "sqlite:///"


def database_url(settings: Settings) -> str:
    """As set, or a file in the data directory."""
    url = settings.database.url.get_secret_value()
    return url or f"{_SQLITE}{settings.data_dir.absolute() / SQLITE_FILE}"


def database_file(settings: Settings) -> Path | None:
    """The SQLite file; None where it is something else."""
    scheme, _, path = database_url(settings).partition(_SQLITE)
    return Path(path) if not scheme and path and "?" not in path and path != ":memory:" else None
