"""The model that a session is told to use, and what clients are offered."""

import json
from datetime import UTC, datetime

import pytest

from isthmus.core.accounts import Member, Namespace, Place, Token, TokenKind, User
from isthmus.core.flags import STICKINESS, Flag
from isthmus.core.workflow import Status, Workflow
from isthmus.instance.discovery import Discovery
from isthmus.instance.flags import Flags
from isthmus.instance.metadata import CHAT_FEATURE, JOB_FEATURE, ModelMetadata, Wanted
from tests.support.clock import HandClock
from tests.support.library import library_models
from tests.support.memory_flags import MemoryFlags

NOW = datetime(2026, 1, 1, tzinfo=UTC)
USER = User(1, "alice", "Alice", "", "global-1", 5, NOW)
TOKEN = Token(1, TokenKind.PERSONAL, 1, frozenset({"api"}), "", "", NOW, None, None, {})
MEMBER = Member(USER, TOKEN)
PLACE = Place(Namespace(7, "sub", "Sub", "top/sub", root_id=6, parent_id=6))
STORED = '{"name":"claude_sonnet_4_6","provider":"gitlab",  "endpoint":null,"identifier":null}'
DEFAULT = {"provider": "gitlab", "feature_setting": CHAT_FEATURE, "identifier": None}


def metadata(*flags: Flag, pinned: str = "", providers: tuple[str, ...] = ()) -> ModelMetadata:
    models = library_models(HandClock(), *providers)
    pins = {CHAT_FEATURE: pinned} if pinned else {}
    return ModelMetadata(Discovery(models, pins), Flags(MemoryFlags(*flags)))


def workflow(model: str) -> Workflow:
    return Workflow("1", "chat", "", "global-1", Status.RUNNING, model, NOW, NOW)


async def resolved(known: ModelMetadata, selected: str = "") -> dict[str, object]:
    text = await known.resolved(MEMBER, PLACE, Wanted(selected=selected))
    return json.loads(text)


async def test_the_default_names_the_feature_alone() -> None:
    assert await resolved(metadata()) == DEFAULT
    text = await metadata().resolved(MEMBER, PLACE, Wanted(JOB_FEATURE))
    assert json.loads(text)["feature_setting"] == JOB_FEATURE


async def test_a_selection_among_those_on_offer_counts() -> None:
    known = metadata()
    assert await resolved(known, "claude_haiku_4_5_20251001") == {
        **DEFAULT,
        "identifier": "claude_haiku_4_5_20251001",
    }


@pytest.mark.parametrize("selected", ["duo-chat-sonnet-4-5", f"__default__{CHAT_FEATURE}", "x" * 9])
async def test_i7_62_an_unknown_selection_falls_back_to_the_default(selected: str) -> None:
    assert await resolved(metadata(), selected) == DEFAULT


async def test_users_choose_only_while_they_may() -> None:
    off = metadata(Flag("ai_user_model_switching", default=False))
    assert await resolved(off, "claude_haiku_4_5_20251001") == DEFAULT


async def test_a_pin_leaves_no_choice() -> None:
    known = metadata(pinned="claude_sonnet_4_6")
    told = await resolved(known, "claude_haiku_4_5_20251001")
    assert told["identifier"] == "claude_sonnet_4_6"


async def test_nothing_is_said_where_nothing_can_serve() -> None:
    assert not await metadata().resolved(MEMBER, PLACE, Wanted("no_such_feature"))
    assert not await metadata(providers=("nobody",)).resolved(MEMBER, PLACE, Wanted())


ON_FOR_ALL = Flag(STICKINESS, default=True)
ON_AT_ROOT = Flag(STICKINESS, namespaces=frozenset({6}))
ON_BELOW = Flag(STICKINESS, namespaces=frozenset({7}))
ON_FOR_USER = Flag(STICKINESS, users=frozenset({1}))


@pytest.mark.parametrize("flag", [ON_FOR_ALL, ON_AT_ROOT, ON_FOR_USER], ids=["all", "root", "user"])
async def test_with_the_flag_the_stored_text_is_told_byte_for_byte(flag: Flag) -> None:
    wanted = Wanted(selected="claude_haiku_4_5_20251001")
    assert await metadata(flag).text(MEMBER, PLACE, wanted, workflow(STORED)) == STORED


@pytest.mark.parametrize("flags", [(), (ON_BELOW,)], ids=["off", "not the root"])
async def test_without_it_the_model_is_resolved_anew(flags: tuple[Flag, ...]) -> None:
    text = await metadata(*flags).text(MEMBER, PLACE, Wanted(), workflow(STORED))
    assert json.loads(text) == DEFAULT


@pytest.mark.parametrize("stored", ["", "  \n"])
async def test_i7_21_a_blank_stored_text_counts_as_none(stored: str) -> None:
    known = metadata(ON_FOR_ALL)
    assert json.loads(await known.text(MEMBER, PLACE, Wanted(), workflow(stored))) == DEFAULT
    assert json.loads(await known.text(MEMBER, PLACE, Wanted(), None)) == DEFAULT


async def test_i7_28_what_was_stored_malformed_breaks_nothing() -> None:
    known = metadata(ON_FOR_ALL)
    assert await known.text(MEMBER, PLACE, Wanted(), workflow("{not json")) == "{not json"
    for stored in ('{"a":\n1}', '{"a":"ü"}', "a\0b"):
        assert json.loads(await known.text(MEMBER, PLACE, Wanted(), workflow(stored))) == DEFAULT


def test_the_offer_is_what_the_catalogue_offers_and_what_can_serve() -> None:
    offer = Discovery(library_models(HandClock())).offer(CHAT_FEATURE)
    refs = [one.ref for one in offer.selectable]
    assert offer.default is not None
    assert offer.default.drawn
    assert offer.default in offer.selectable
    assert "claude_haiku_4_5_20251001" in refs
    assert not [ref for ref in refs if ref.startswith("gpt")]
    assert all(one.name and one.ref for one in offer.selectable)
    assert offer.pinned is None


def test_the_offer_of_one_default_is_that_one() -> None:
    offer = Discovery(library_models(HandClock(), "anthropic")).offer(CHAT_FEATURE)
    assert offer.default is not None
    assert offer.default.ref == "claude_sonnet_4_6"


def test_a_feature_that_nobody_knows_offers_nothing() -> None:
    offer = Discovery(library_models(HandClock())).offer("no_such_feature")
    assert (offer.default, offer.selectable, offer.pinned) == (None, (), None)
