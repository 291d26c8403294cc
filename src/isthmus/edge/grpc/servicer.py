"""The session contract's RPCs, each a few lines over a use case."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from grpc import aio

from isthmus.contract.contract_pb2 import (
    Action,
    Capability,
    ClientEvent,
    GenerateTokenRequest,
    GenerateTokenResponse,
    ListCapabilitiesRequest,
    ListCapabilitiesResponse,
    ListFlowsRequest,
    ListFlowsResponse,
    ListToolsRequest,
    ListToolsResponse,
    TrackSelfHostedClientEvent,
    ValidateFlowConfigRequest,
    ValidateFlowConfigResponse,
)
from isthmus.core.errors import ClientGone
from isthmus.edge.grpc.auth import caller_of, client_of
from isthmus.edge.grpc.errors import CANCELLED_BY_CLIENT
from isthmus.edge.grpc.story import Story, story_of
from isthmus.gateway.grant import Grant
from isthmus.platform.catalogue import Catalogue, Entry, Filters
from isthmus.platform.credits import Credits
from isthmus.platform.host import SessionHost
from isthmus.platform.metering import Metering
from isthmus.platform.opening import feature_of
from isthmus.platform.tool import Tool, specification

Context: TypeAlias = "aio.ServicerContext[Any, Any]"

SERVER_CAPABILITIES = (
    "tool_call_approval",
    "tool_call_pattern_approval",
    "flow_semantic_versioning",
)

MOMENT_S = 0.05
"""How long after a stream's last event its cancellation may still arrive."""


@dataclass(frozen=True, slots=True)
class Dues:
    """Tokens for users, and what is counted of their use."""

    grant: Grant
    credits: Credits
    metering: Metering


class SessionServicer:
    """Serves `DuoWorkflow`. Failures leave as exceptions; an interceptor gives them a status."""

    def __init__(
        self, host: SessionHost, dues: Dues, tools: Sequence[Tool], flows: Catalogue
    ) -> None:
        self._host = host
        self._grant = dues.grant
        self._credits = dues.credits
        self._metering = dues.metering
        self._tools = [function_of(tool) for tool in tools]
        self._flows = flows

    async def ExecuteWorkflow(  # noqa: N802 - the contract's name
        self, request_iterator: AsyncIterator[ClientEvent], context: Context
    ) -> None:
        """One turn. Replies are written here, not yielded: a cancelled RPC then ends the session
        at once, instead of when a suspended generator is collected.
        """
        story = story_of(context)
        story.opened()
        ending, departure = _Ending(), _Departure(story)
        events = departure.watched(request_iterator)
        actions = self._host.open(caller_of(context), client_of(context), events)
        try:
            async for action in actions:
                ending.sent(action)
                story.told(action)
                await context.write(action)
        except asyncio.CancelledError:
            departure.gone.set()
            raise
        finally:
            await _closed(actions)
            await _closed(events)
        context.set_details(ending.details)

    async def GenerateToken(  # noqa: N802 - the contract's name
        self, request: GenerateTokenRequest, context: Context
    ) -> GenerateTokenResponse:
        """A token of one hour for an end user's client."""
        caller, client = caller_of(context), client_of(context)
        definition = request.workflowDefinition
        await self._credits.for_token(caller, client, feature_of(definition, ""))
        token = self._grant.platform_token(caller, client, definition)
        return GenerateTokenResponse(
            token=token.token,
            expiresAt=token.expires_at,
            server_capabilities=SERVER_CAPABILITIES,
        )

    async def ListCapabilities(  # noqa: N802 - the contract's name
        self, request: ListCapabilitiesRequest, context: Context
    ) -> ListCapabilitiesResponse:
        """What this server can do beyond the first version of the contract."""
        del request, context
        return ListCapabilitiesResponse(
            capabilities=[Capability(name=name) for name in SERVER_CAPABILITIES]
        )

    async def ListTools(  # noqa: N802 - the contract's name
        self, request: ListToolsRequest, context: Context
    ) -> ListToolsResponse:
        """Function specifications of the tools."""
        del request, context
        return ListToolsResponse(tools=self._tools)

    async def ListFlows(  # noqa: N802 - the contract's name
        self, request: ListFlowsRequest, context: Context
    ) -> ListFlowsResponse:
        """The flows of the server: those that fit every filter, by any of its values."""
        del context
        wanted = request.filters
        filters = Filters(
            frozenset(wanted.environment),
            frozenset(wanted.version),
            frozenset(wanted.flow_identifier),
        )
        return ListFlowsResponse(configs=map(_listed, self._flows.listed(filters)))

    async def ValidateFlowConfig(  # noqa: N802 - the contract's name
        self, request: ValidateFlowConfigRequest, context: Context
    ) -> ValidateFlowConfigResponse:
        """What is wrong with a configuration, line by line; nothing of it is kept or run."""
        del context
        if not request.HasField("flow_config"):
            return ValidateFlowConfigResponse(errors=["Missing required field: flow_config"])
        # Compiling a large one's templates would hold up the sessions.
        errors = await asyncio.to_thread(self._flows.faults, request.flow_config)
        return ValidateFlowConfigResponse(valid=not errors, errors=errors)

    async def TrackSelfHostedExecuteWorkflow(  # noqa: N802 - the contract's name
        self, request_iterator: AsyncIterator[TrackSelfHostedClientEvent], context: Context
    ) -> None:
        """Model calls of another server's sessions, each acknowledged once it is counted."""
        caller, client = caller_of(context), client_of(context)
        async with aclosing(self._metering.track(caller, client, request_iterator)) as counted:
            async for action in counted:
                await context.write(action)


class _Ending:
    """The text that goes with status OK: what the client asked for, or what it was last told."""

    def __init__(self) -> None:
        self._stopped = False
        self._acted = False

    @property
    def details(self) -> str:
        if not self._acted:
            return ""
        return "workflow execution stopped" if self._stopped else "workflow execution success"

    def sent(self, action: Action) -> None:
        self._acted = True
        if action.HasField("newCheckpoint"):
            self._stopped = action.newCheckpoint.status == "STOPPED"


class _Departure:
    """Tells a client that half-closed from one that vanished.

    The library ends the events of both alike, and cancels the RPC of the second a moment later.
    """

    def __init__(self, story: Story) -> None:
        self.gone = asyncio.Event()
        self._story = story

    async def watched(
        self, events: AsyncIterator[ClientEvent]
    ) -> AsyncGenerator[ClientEvent, None]:
        """The client's events until it half-closes. Raises ClientGone when it vanished instead."""
        async for event in events:
            self._story.heard(event)
            yield event
        try:
            async with asyncio.timeout(MOMENT_S):
                await self.gone.wait()
        except TimeoutError:
            return
        raise ClientGone(CANCELLED_BY_CLIENT)


async def _closed(iterator: AsyncIterator[object]) -> None:
    """Close a generator now; another kind of iterator holds nothing to close."""
    aclose = getattr(iterator, "aclose", None)
    if aclose is not None:
        await aclose()


def _listed(entry: Entry) -> Struct:
    told = {
        "flow_identifier": entry.name,
        "flow_version": entry.version,
        "version": entry.schema,
        "environment": entry.flow.environment,
        "config": entry.config,
    }
    return ParseDict(told, Struct())


def function_of(tool: Tool) -> Struct:
    """A tool as the function specification that `ListTools` sends."""
    return ParseDict(specification(tool), Struct())
