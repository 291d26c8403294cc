"""What changes show to a model: protected and excluded files are left out. Pure.

Source: agent-platform contract, section 8.10.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from isthmus.platform.exclusion import REASON, Exclusion


def allowed(diffs: Iterable[Mapping[str, Any]], exclusion: Exclusion) -> list[Mapping[str, Any]]:
    """The diffs whose old and new path may be shown; of the others the path alone."""
    return [
        one
        if not any(exclusion.hides(str(one.get(key) or "")) for key in ("old_path", "new_path"))
        else {"new_path": one.get("new_path"), "diff": REASON}
        for one in diffs
    ]
