"""Bills the model calls of sessions that another server runs with models of its own.

Source: agent-platform contract, sections 3.3, 4.10, 4.11 and 10.4.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from isthmus.auth import scopes
from isthmus.contract.contract_pb2 import TrackSelfHostedAction, TrackSelfHostedClientEvent
from isthmus.core.events import ModelUse, SessionBilled
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.ports import Telemetry
from isthmus.platform.credits import Credits

ONCE_A_SESSION: Final = frozenset(
    {"code_review", "sast_fp_detection", "secrets_fp_detection", "resolve_sast_vulnerability"}
)
_DENIED: Final = "Unauthorized to track self-hosted workflow execution"
_SOMEWHERE: Final = ModelUse("", "", "", "", 1, 1)
"""Nobody says what the other server's model read and wrote."""


class Metering:
    """Counts what is announced, one unit a call; some features cost once a stream."""

    def __init__(self, portal: Credits, telemetry: Telemetry) -> None:
        self._credits = portal
        self._telemetry = telemetry

    async def track(
        self, caller: Caller, client: ClientInfo, events: AsyncIterator[TrackSelfHostedClientEvent]
    ) -> AsyncGenerator[TrackSelfHostedAction, None]:
        """An acknowledgement for each announcement. Raises Forbidden, and what Credits raise."""
        scopes.require(caller, ("duo_agent_platform",), _DENIED, self_issued=False)
        billed: set[str] = set()
        admitted = False
        async for event in events:
            feature = event.featureQualifiedName
            if not admitted:
                await self._credits.for_metering(caller, client, feature)
                admitted = True
            if feature not in ONCE_A_SESSION or feature not in billed:
                self._telemetry.emit(
                    SessionBilled(
                        workflow_id=event.workflowID,
                        feature=feature,
                        catalogued=event.featureAiCatalogItem,
                        caller=caller,
                        client=client,
                        used=(("model", _SOMEWHERE),),
                    )
                )
            if feature in ONCE_A_SESSION:
                billed.add(feature)
            yield TrackSelfHostedAction(requestID=event.requestID)
