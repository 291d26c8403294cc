"""What the tables are made of: kinds of columns on both databases, and how indexes are named."""

from typing import Final

from sqlalchemy import BigInteger, Integer, MetaData, Text
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT

metadata: Final = MetaData(
    naming_convention={"pk": "%(table_name)s_pkey", "ix": "%(table_name)s_%(column_0_N_name)s_idx"}
)

# Byte order on both: ids sort by time as bytes, whatever the locale of the database.
KEY: Final = Text().with_variant(PG_TEXT(collation="C"), "postgresql")
NUMBER: Final = BigInteger().with_variant(Integer(), "sqlite")
