"""The list of tasks that a session works through, and what its tools make of it. Pure.

Source: agent-platform contract, sections 5.4 and 8.4 (group D).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from isthmus.core.errors import ToolRefused
from isthmus.platform.tool import Planned

MAX_STEPS = 200
STATUSES: Final = ("Not Started", "In Progress", "Completed", "Cancelled")
Steps = Sequence[Mapping[str, str]]


def replaced(tasks: Sequence[str]) -> Planned:
    """A new list of these tasks."""
    if len(tasks) > MAX_STEPS:
        raise ToolRefused(f"A plan has at most {MAX_STEPS} tasks.")
    steps = tuple(
        {"id": f"task-{number}", "description": text, "status": STATUSES[0]}
        for number, text in enumerate(tasks, 1)
    )
    return Planned(steps, f"The plan has {len(steps)} tasks.")


def added(steps: Steps, text: str) -> Planned:
    """One more task at the end."""
    if len(steps) >= MAX_STEPS:
        raise ToolRefused(f"A plan has at most {MAX_STEPS} tasks.")
    numbers = [int(one["id"].removeprefix("task-")) for one in steps if _numbered(one["id"])]
    new = {"id": f"task-{max(numbers, default=0) + 1}", "description": text, "status": STATUSES[0]}
    return Planned((*steps, new), f"Added {new['id']}.")


def removed(steps: Steps, task_id: str) -> Planned:
    """Without this task. Raises ToolRefused when there is none."""
    _found(steps, task_id)
    kept = tuple(one for one in steps if one["id"] != task_id)
    return Planned(kept, f"Removed {task_id}.")


def changed(steps: Steps, task_id: str, **values: str) -> Planned:
    """With these values of a task. Raises ToolRefused when there is none."""
    _found(steps, task_id)
    new = tuple({**one, **values} if one["id"] == task_id else one for one in steps)
    return Planned(new, f"Changed {task_id}.")


def _found(steps: Steps, task_id: str) -> None:
    if all(one["id"] != task_id for one in steps):
        ids = ", ".join(one["id"] for one in steps) or "none"
        raise ToolRefused(f"There is no task {task_id!r}; there are: {ids}.")


def _numbered(task_id: str) -> bool:
    number = task_id.removeprefix("task-")
    return number.isascii() and number.isdigit() and len(number) < 9
