"""Which labels the rows of an hour may have, whatever callers say.

Values are cut and cleaned; those beyond an hour's allowance are counted as `other`.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from isthmus.core.usage import OTHER

Labels: TypeAlias = tuple[int, str, str, str, str, str, str, str, str, str, str]
"""The fields of a UsageKey, in its order."""
LABEL_LIMIT_CHARS: Final = 128
ROWS_LIMIT: Final = 100_000
"""Rows of one hour that tell everything apart."""
LIMITS: Final = (
    *(2_000, 10_000, 20_000, 20_000),
    *(200, 1_000, 100, 1_000, 300, 100),
)
"""Values of one hour, by the dimensions of a key: instance, namespace, user, token; feature, ..."""


class Allowance:
    """What has been admitted in the newest hour seen so far."""

    def __init__(self, rows_limit: int = ROWS_LIMIT, limits: Sequence[int] = LIMITS) -> None:
        self._limits = limits
        self._rows_limit = rows_limit
        self._begin(0)

    def admit(self, labels: Labels, *, room: bool) -> Labels:
        """The labels to count under; without `room` for another row, those that all may share."""
        if labels[0] > self._hour:
            self._begin(labels[0])
        hour, *values = labels
        told = [
            self._value(value, known, limit)
            for value, known, limit in zip(values, self._known, self._limits, strict=True)
        ]
        instance, namespace, user, token, feature, model, provider, deployment, language, end = told
        admitted = (
            *(hour, instance, namespace, user, token),
            *(feature, model, provider, deployment, language, end),
        )
        mark = hash(admitted)
        if mark in self._rows:
            return admitted
        if not room or len(self._rows) >= self._rows_limit:
            return (
                *(hour, OTHER, OTHER, OTHER, OTHER),
                *(feature, OTHER, provider, OTHER, OTHER, end),
            )
        self._rows.add(mark)
        return admitted

    def _begin(self, hour: int) -> None:
        self._hour = hour
        self._known: list[dict[str, str]] = [{} for _ in self._limits]
        self._rows: set[int] = set()

    @staticmethod
    def _value(value: str, known: dict[str, str], limit: int) -> str:
        if not value:
            return ""
        value = value[:LABEL_LIMIT_CHARS]
        if value in known:
            return known[value]
        if len(known) >= limit:
            return OTHER
        clean = value if value.isprintable() else "".join(filter(str.isprintable, value))
        known[value] = clean
        return clean
