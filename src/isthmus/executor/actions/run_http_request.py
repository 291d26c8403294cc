"""runHTTPRequest: asks the person's instance, when one is configured."""

from isthmus.contract.contract_pb2 import HttpResponse, RunHTTPRequest
from isthmus.executor.action import ActionKind, Machine


async def run(message: RunHTTPRequest, machine: Machine) -> HttpResponse:
    """The instance's answer. Over a relay this never comes here: the relay asks by itself."""
    instance = machine.lent.instance
    if instance is None:
        return HttpResponse(error="No instance is configured for this executor.")
    body = message.body if message.HasField("body") else None
    return await instance.answer(message.method, message.path, body)


ACTION = ActionKind(field="runHTTPRequest", effect="read", run=run)
