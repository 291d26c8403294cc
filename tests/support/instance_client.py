"""A client that carries out HTTP actions at our own instance API, as the relay does."""

import httpx

from isthmus.contract.contract_pb2 import Action, ActionResponse, HttpResponse
from tests.support.instance import Machine as Stand


class InstanceClient(Stand):
    """Implements `Client`; `asked` keeps the methods and paths, `bodies` what was sent."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.asked: list[str] = []
        self.bodies: list[str] = []

    @property
    def host(self) -> str:
        """The instance that its requests go to."""
        return str(self._http.base_url.host)

    async def ask(self, action: Action) -> ActionResponse:
        asked = action.runHTTPRequest
        self.asked.append(f"{asked.method} {asked.path}")
        self.bodies.append(asked.body)
        reply = await self._http.request(
            asked.method,
            asked.path,
            content=asked.body if asked.HasField("body") else None,
            headers={"content-type": "application/json"},
        )
        answer = HttpResponse(statusCode=reply.status_code, body=reply.text)
        answer.headers.update(reply.headers.items())
        return ActionResponse(httpResponse=answer)

    def has(self, capability: str) -> bool:
        """It can do nothing else."""
        del capability
        return False
