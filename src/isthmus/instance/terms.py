"""What an owner may ask for when a workflow is made or changed. Pure.

Source: instance contract, sections 1.2 and 1.3.
"""

from typing import Final

from isthmus.core.errors import Invalid
from isthmus.core.workflow import PRIVILEGES, Terms

ENVIRONMENTS: Final = frozenset({"ide", "web", "chat_partial", "chat", "ambient", "external"})


def check(terms: Terms, *, in_project: bool) -> None:
    """Raises Invalid."""
    check_privileges(terms.privileges, terms.preapproved)
    if terms.environment and terms.environment not in ENVIRONMENTS:
        raise Invalid(f"Environment {terms.environment[:50]!r} is not included in the list.")
    about = [one for one in (terms.issue_id, terms.merge_request_id) if one is not None]
    if len(about) > 1:
        raise Invalid("A workflow is about an issue or a merge request, not both.")
    if about and not in_project:
        raise Invalid("An issue or a merge request needs a project.")


def check_privileges(privileges: tuple[int, ...], preapproved: tuple[int, ...]) -> None:
    """Raises Invalid: every one must be known, and the pre-approved ones among the granted."""
    for granted in (*privileges, *preapproved):
        if granted not in PRIVILEGES:
            raise Invalid(f"Agent privileges contain an invalid value {granted}.")
    for granted in preapproved:
        if granted not in privileges:
            raise Invalid(
                f"Pre-approved agent privilege {granted} is not present in agent privileges."
            )
