"""An engine over a handful of records, each read of which is counted."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from isthmus.core.accounts import Member, Namespace, Project, Token, TokenKind, User
from isthmus.core.errors import NotFound
from isthmus.core.flags import KNOWN, Flag, known
from isthmus.core.page import Page
from isthmus.core.records import Record, RecordPage, RecordQuery
from isthmus.core.workflow import Status, Workflow, WorkflowQuery
from isthmus.edge.graphql.engine import Answer, Engine
from isthmus.edge.graphql.inquiry import Inquiry, Operation
from isthmus.edge.instance import InstanceServices
from isthmus.instance.discovery import Offer, Offered
from isthmus.settings import InstanceSettings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
USER = User(1, "ann", "Ann", "", "owner-1", 11, NOW)


def workflow(number: int = 7, **fields: Any) -> Workflow:
    own = Workflow(str(number), "chat", "hi", "owner-1", Status.RUNNING, "", NOW, NOW)
    return replace(own, **fields)


def record(checkpoint: bytes, thread_ts: str = "ts-2") -> Record:
    return Record(1, thread_ts, "ts-1", "", 0, b'{"step":1}', checkpoint)


def member(*scopes: str, through_relay: bool = False) -> Member:
    token = Token(1, TokenKind.PERSONAL, 1, frozenset(scopes), "", "", NOW, None, None, {})
    return Member(USER, token, through_relay)


class Workflows:
    def __init__(self, *owned: Workflow) -> None:
        self.owned = {each.workflow_id: each for each in owned}
        self.reads = 0
        self.failure: Exception | None = None
        self.queries: list[WorkflowQuery] = []

    async def own(self, _: Member, workflow_id: str) -> Workflow:
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        if workflow_id not in self.owned:
            raise NotFound("404 Workflow Not Found")
        return self.owned[workflow_id]

    async def page(self, _: Member, query: WorkflowQuery) -> Page[Workflow]:
        self.queries.append(query)
        found = sorted(
            self.owned.values(),
            key=lambda each: int(each.workflow_id),
            reverse=not query.oldest_first,
        )
        if query.after_id is not None:
            ids = [each.workflow_id for each in found]
            found = found[ids.index(query.after_id) + 1 :]
        return Page(tuple(found[: query.limit]), len(found) > query.limit)

    def archived(self, _: Workflow) -> bool:
        return False


class Checkpoints:
    def __init__(self, *records: Record) -> None:
        self.records = records
        self.reads = 0

    async def latest(self, _: Workflow) -> Record | None:
        self.reads += 1
        return self.records[0] if self.records else None

    async def first(self, _: Workflow) -> Record | None:
        return self.records[-1] if self.records else None

    async def page(self, _: Member, query: RecordQuery) -> RecordPage:
        begin = (query.page - 1) * query.per_page
        return RecordPage(self.records[begin : begin + query.per_page], len(self.records))


class Places:
    def __init__(self) -> None:
        self.reads = 0

    async def project(self, _: Member, key: str | int) -> Project:
        self.reads += 1
        if str(key) not in {"5", "g/app"}:
            raise NotFound("404 Project Not Found")
        return Project(5, "app", "App", "g/app", 11, 11, "An app", "trunk")

    async def namespace(self, _: Member, key: str | int) -> Namespace:
        self.reads += 1
        if str(key) not in {"11", "g"}:
            raise NotFound("404 Namespace Not Found")
        return Namespace(11, "g", "G", "g", 11)


class Flags:
    async def all(self) -> Mapping[str, Flag]:
        return {name: known(name) for name in KNOWN}


class Discovery:
    def offer(self, _: str) -> Offer:
        own = Offered("Claude", "claude", "Anthropic", "Good", "$")
        return Offer(own, (own, Offered("Other", "other")))


ENGINE = Engine(InstanceSettings())
"""Made at import, before any loop runs: it reads the schema's file."""


@dataclass
class Stand:
    """What a test may set, and look at afterwards."""

    workflows: Workflows = field(default_factory=lambda: Workflows(workflow()))
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    places: Places = field(default_factory=Places)
    member: Member = field(default_factory=lambda: member("api"))
    settings: InstanceSettings = field(default_factory=InstanceSettings)

    def inquiry(self) -> Inquiry:
        instance = SimpleNamespace(
            workflows=self.workflows,
            checkpoints=self.checkpoints,
            places=self.places,
            flags=Flags(),
            discovery=Discovery(),
            settings=self.settings,
        )
        return Inquiry(cast("InstanceServices", instance), self.member, "https://i.test")

    async def answer(self, text: str, **variables: object) -> Answer:
        return await ENGINE.answer(Operation(text, variables), self.inquiry())

    async def data(self, text: str, **variables: object) -> Any:
        """The data of an answer without errors."""
        body = (await self.answer(text, **variables)).body
        assert "errors" not in body, body
        return body["data"]

    async def errors(self, text: str, **variables: object) -> list[Any]:
        return cast("list[Any]", (await self.answer(text, **variables)).body["errors"])
