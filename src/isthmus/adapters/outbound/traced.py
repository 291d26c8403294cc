"""An outbound client that tells whom it calls in which trace the call stands."""

from contextlib import AbstractAsyncContextManager

from msgspec.structs import replace

from isthmus.core.deadline import Deadline
from isthmus.core.messages import OutboundRequest
from isthmus.core.ports import Outbound, OutboundReply
from isthmus.core.trace import TRACE


class Traced:
    """Implements Outbound over another one."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound

    def open(
        self, request: OutboundRequest, deadline: Deadline
    ) -> AbstractAsyncContextManager[OutboundReply]:
        """See Outbound; the trace's headers are added, after what is signed."""
        trace = TRACE.get()
        if trace is not None:
            request = replace(request, headers=(*request.headers, *trace.headers()))
        return self._outbound.open(request, deadline)
