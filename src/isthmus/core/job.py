"""A session that runs without a person: what a runner is given, and what it gives back."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunnerJob:
    """One run of the headless executor.

    `variables` are all it needs, by the names of the contract; those in `secrets` must not be
    shown. `arguments` follow the executor's command. `project` is the path of the project, `branch`
    what is checked out (empty: the default branch), `image` a container image (empty: the runner's
    own).
    Source: instance contract, sections 2.6 and 2.7.
    """

    workflow_id: str
    variables: Mapping[str, str]
    secrets: frozenset[str]
    arguments: tuple[str, ...] = ()
    project: str = ""
    branch: str = ""
    image: str = ""


@dataclass(frozen=True, slots=True)
class RunnerRef:
    """A run that was started. `id` is the runner's own name for it; `number` is what clients see.

    `url` leads a person to its log, where there is one.
    """

    id: str
    number: int
    url: str = ""
