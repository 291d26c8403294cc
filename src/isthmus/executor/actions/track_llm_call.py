"""trackLlmCallForSelfHosted: acknowledged; nothing is metered here."""

from isthmus.contract.contract_pb2 import TrackLlmCallForSelfHosted
from isthmus.executor.action import ActionKind, Machine


async def run(message: TrackLlmCallForSelfHosted, machine: Machine) -> str:
    """Acknowledge: the session waits for a reply and ignores its text."""
    del message, machine
    return "acknowledged"


ACTION = ActionKind(field="trackLlmCallForSelfHosted", effect="read", run=run)
