"""The tables of usage: sums by hour and key, and the batches that were added."""

from typing import Final

from sqlalchemy import Column, Table, Text

from isthmus.adapters.stores.columns import KEY, NUMBER, metadata
from isthmus.adapters.stores.usage_rows import ADDED
from isthmus.core.usage import DIMENSIONS

usage: Final = Table(
    "usage",
    metadata,
    Column("hour", NUMBER, primary_key=True, autoincrement=False),
    # A digest of the dimensions: as a key they would be longer than the row.
    Column("digest", KEY, primary_key=True),
    *(Column(name, Text, nullable=False) for name in DIMENSIONS),
    *(Column(name, NUMBER, nullable=False) for name in ADDED),
)

usage_batches: Final = Table("usage_batches", metadata, Column("id", KEY, primary_key=True))
