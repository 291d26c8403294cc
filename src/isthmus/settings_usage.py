"""The branch of the settings tree for what is kept of usage and cost."""

from pydantic import Field

from isthmus.settings_group import Group


class UsageSettings(Group):
    """Usage and cost by hour, kept in the database: requests, tokens, money, suggestions."""

    enabled: bool = Field(default=True, description="Keep it.")
    flush_s: float = Field(
        default=5.0,
        gt=0,
        le=600,
        description="How often what was counted is written; a killed process loses no more.",
    )
    tokens: bool = Field(default=True, description="Tell tokens of one user apart.")
    keep_days: int = Field(default=400, ge=1, description="How long hours are kept.")
    spool_limit_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024 * 1024,
        description="Room in `data_dir/usage` for what the database does not take yet; "
        "over it, the oldest is dropped and told.",
    )
