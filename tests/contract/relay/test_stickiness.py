"""A session stays on its model: by query, by late look-up, and not where it is off.

Source: instance contract, sections 2.5 and 3.13 (trace 4).
"""

import json
from pathlib import Path
from typing import Any

import pytest

from isthmus.core.flags import STICKINESS
from isthmus.instance.metadata import HEADER
from tests.support.relay_stand import RelayStand, open_relay

STORED = '{"name": "claude_sonnet_4_5_vertex","provider":"gitlab",  "endpoint":null}'


async def stored(relay: RelayStand, text: str = STORED, **order: Any) -> str:
    """A workflow whose record keeps this text."""
    workflow_id = await relay.workflow(**order)
    if text:
        await relay.people.stores.workflows.pin(workflow_id, text)
    return workflow_id


async def told(relay: RelayStand, workflow_id: str, query: str = "") -> str:
    """The model's text that the platform gets in a turn."""
    await relay.run(workflow_id=workflow_id, query=query)
    return relay.host.turn.client.get(HEADER)


def resolved(text: str) -> bool:
    """Whether the text is that of the resolution."""
    return json.loads(text)["feature_setting"] == "duo_agent_platform_agentic_chat"


@pytest.mark.parametrize("order", [{}, {"project": "acme/app"}, {"namespace": "acme"}])
async def test_i7_20_the_stored_text_is_told_byte_for_byte(
    relay: RelayStand, order: dict[str, Any]
) -> None:
    await relay.people.flag(STICKINESS, default=True)
    workflow_id = await stored(relay, **order)
    query = f"workflow_id={workflow_id}&user_selected_model_identifier=claude_haiku_4_5_20251001"
    assert await told(relay, workflow_id, query) == STORED


async def test_i7_19_with_the_flag_off_the_model_is_resolved(relay: RelayStand) -> None:
    workflow_id = await stored(relay)
    assert resolved(await told(relay, workflow_id, f"workflow_id={workflow_id}"))
    record = await relay.instance.workflows.own(relay.people.alice.member, workflow_id)
    assert record.model == STORED


async def test_i7_21_nothing_stored_is_no_error(relay: RelayStand) -> None:
    await relay.people.flag(STICKINESS, default=True)
    workflow_id = await stored(relay, "")
    assert resolved(await told(relay, workflow_id, f"workflow_id={workflow_id}"))


async def test_i7_22_the_flag_is_asked_at_the_root_of_the_workflows_own_place(
    relay: RelayStand,
) -> None:
    places = relay.people.stores.places
    inner = await places.add_group("acme/inner")
    acme = await places.namespace("acme")
    await relay.people.flag(STICKINESS, namespaces=frozenset({acme.id}))
    below = await stored(relay, namespace=inner.full_path)
    elsewhere = await stored(relay)
    # The connections name no place: the workflow's own is what counts.
    assert await told(relay, below, f"workflow_id={below}") == STORED
    assert await told(relay, below) == STORED
    assert resolved(await told(relay, elsewhere, f"workflow_id={elsewhere}"))


async def test_the_flag_may_be_on_for_a_user(relay: RelayStand) -> None:
    await relay.people.flag(STICKINESS, users=frozenset({relay.people.alice.user.id}))
    workflow_id = await stored(relay)
    assert await told(relay, workflow_id) == STORED


async def test_clients_that_send_no_id_get_it_at_the_start_request(relay: RelayStand) -> None:
    await relay.people.flag(STICKINESS, default=True)
    workflow_id = await stored(relay)
    assert await told(relay, workflow_id) == STORED


async def test_a_text_that_was_stored_after_the_upgrade_counts(relay: RelayStand) -> None:
    await relay.people.flag(STICKINESS, default=True)
    workflow_id = await stored(relay, "")
    async with relay.connect(f"workflow_id={workflow_id}") as socket:
        await relay.people.stores.workflows.pin(workflow_id, STORED)
        await socket.send(json.dumps({"startRequest": {"workflowID": workflow_id}}))
        await socket.recv()
    assert relay.host.turn.client.get(HEADER) == STORED


async def test_without_late_look_up_only_the_query_counts(tmp_path: Path) -> None:
    async with open_relay(tmp_path, late_lookup=False) as relay:
        await relay.people.flag(STICKINESS, default=True)
        workflow_id = await stored(relay)
        assert resolved(await told(relay, workflow_id))
        assert await told(relay, workflow_id, f"workflow_id={workflow_id}") == STORED


@pytest.mark.parametrize("text", ["{not json", "[]", "null"])
async def test_i7_28_a_malformed_stored_text_does_not_break_the_stream(
    relay: RelayStand, text: str
) -> None:
    await relay.people.flag(STICKINESS, default=True)
    workflow_id = await stored(relay, text)
    heard = await relay.run(workflow_id=workflow_id)
    assert (heard.code, heard.statuses[-1]) == (1000, "INPUT_REQUIRED")


async def test_i7_62_an_unknown_selection_falls_back_to_the_default(relay: RelayStand) -> None:
    workflow_id = await stored(relay, "")
    default = await told(relay, workflow_id)
    unknown = "user_selected_model_identifier=duo-chat-sonnet-4-5"
    assert await told(relay, workflow_id, unknown) == default
    known = "user_selected_model_identifier=claude_haiku_4_5_20251001"
    assert json.loads(await told(relay, workflow_id, known))["identifier"]


async def test_i7_63_odd_preapprovals_and_decisions_are_handed_on(relay: RelayStand) -> None:
    await relay.run({"preapproved_tools": ["a", "a"], "approval": {"approval": {}}})
    start = relay.host.turn.start
    assert list(start.preapproved_tools) == ["a", "a"]
    assert start.approval.WhichOneof("user_decision") == "approval"
