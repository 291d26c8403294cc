"""The result of a run, as a job's log and its reader get it. Pure."""

import msgspec

from isthmus.executor.client import Exit


def worded(kind: str, code: Exit, workflow_id: str, result: str, failure: str) -> str:
    """All of standard output: the agent's last words, or one JSON document."""
    if kind != "json":
        return f"{result}\n" if result else ""
    told: dict[str, object] = {
        "status": "success" if code is Exit.DONE else "error",
        "exitCode": int(code),
        "workflowId": workflow_id,
        "result": result,
    }
    if code is not Exit.DONE:
        told["error"] = failure or code.name.lower()
    return msgspec.json.encode(told).decode() + "\n"
