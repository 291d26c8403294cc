"""runHTTPRequest: answered with an error; this executor has no instance to ask."""

from isthmus.contract.contract_pb2 import HttpResponse, RunHTTPRequest
from isthmus.executor.action import ActionKind, Machine


async def run(message: RunHTTPRequest, machine: Machine) -> HttpResponse:
    """Say so; nothing is sent anywhere."""
    del message, machine
    return HttpResponse(error="No instance is configured for this executor.")


ACTION = ActionKind(field="runHTTPRequest", effect="read", run=run)
