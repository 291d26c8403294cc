"""What an instance tells of the place that a session works for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Site:
    """The project, or else the namespace; everything is blank where nothing is known.

    `excluded` are the project's rules of files that no tool may read, `protection` is NO_CHECKS,
    LOG_ONLY or INTERRUPT, and `flows` the foundational flows that may be started: None is all.
    """

    project_name: str = ""
    namespace_name: str = ""
    description: str = ""
    web_url: str = ""
    clone_url: str = ""
    default_branch: str = ""
    languages: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    protection: str = "LOG_ONLY"
    flows: frozenset[str] | None = None
