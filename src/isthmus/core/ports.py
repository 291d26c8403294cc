"""What the inside needs from the outside: one Protocol a seam. A reader starts here.

Some live beside what they are about: `SessionHost` (`platform/host.py`) and `Client`
(`platform/tool.py`), `Leases`, `Ledger`, `UsageStore`, `RecordStore` and `EventQueue` (`core`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from isthmus.core.deadline import Deadline
from isthmus.core.events import Fact
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.limits import LimitKey, Use
from isthmus.core.messages import (
    Delta,
    EmbedCall,
    Embeddings,
    Gathering,
    ModelCall,
    OutboundRequest,
    RawCall,
    RawReply,
)

if TYPE_CHECKING:  # most processes that answer requests never hold one of these
    from isthmus.core.accounts import (
        Namespace,
        NewToken,
        NewUser,
        Project,
        Token,
        TokenKind,
        User,
    )
    from isthmus.core.checkpoint import (
        CheckpointQuery,
        PendingWrites,
        StepKey,
        StoredCheckpoint,
        Thread,
    )
    from isthmus.core.flags import Flag
    from isthmus.core.job import RunnerJob, RunnerRef
    from isthmus.core.lease import Lease
    from isthmus.core.page import Page, Passage
    from isthmus.core.workflow import NewWorkflow, StatusEvent, Workflow, WorkflowQuery


class ModelProvider(Protocol):
    """One provider of models, such as anthropic, openai, vertex, local or scripted.

    Everything raises UpstreamFailed (or a subclass), UpstreamTimeout or MisconfiguredProvider.
    Closing an iterator or leaving a context closes the upstream connection at once.
    """

    @property
    def name(self) -> str:
        """The provider's name in settings and in the catalogue."""
        ...

    @property
    def configured(self) -> bool:
        """Whether it serves calls without a target of their own; else only those that bring one."""
        ...

    def stream(self, call: ModelCall, deadline: Deadline) -> AsyncIterator[Delta]:
        """The model's answer as it is produced; the last delta carries finish and usage."""
        ...

    async def whole(self, call: ModelCall, deadline: Deadline, into: Gathering) -> None:
        """The same answer for who reads it at its end: every delta of `stream`, put into `into`."""
        ...

    async def embed(self, call: EmbedCall, deadline: Deadline) -> Embeddings:
        """One vector a text."""
        ...

    def forward(self, raw: RawCall, deadline: Deadline) -> AbstractAsyncContextManager[RawReply]:
        """The provider's own wire, byte for byte. Entering waits for the status and headers.

        An answer with an error status is a reply, not an exception.
        """
        ...

    def forwards(self, path: str) -> bool:
        """Whether `forward` takes this path (query included)."""
        ...

    @property
    def forward_headers(self) -> frozenset[str]:
        """The caller's headers, in lower case, that `forward` passes on."""
        ...


class OutboundReply(Protocol):
    """An HTTP answer whose body has not been read yet."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        """Names in lower case, in the order they came."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, content-encoding untouched."""
        ...

    def whole(self) -> bytes | None:
        """The body when all of it has arrived and none has been read; None: read the chunks."""
        ...

    @property
    def raw_headers(self) -> Sequence[tuple[bytes, bytes]]:
        """The headers as they came, for those who want few of them."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the end of the body has arrived, read or not."""
        ...

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body. Raises UpstreamFailed when it is larger than `limit_bytes`."""
        ...


class Outbound(Protocol):
    """The HTTP client: pooled, warm, TCP_NODELAY; one for the process."""

    def open(
        self, request: OutboundRequest, deadline: Deadline
    ) -> AbstractAsyncContextManager[OutboundReply]:
        """Send, and wait for the status and headers. Never follows a redirect, never decodes.

        Raises UpstreamUnreachable, UpstreamFailed or UpstreamTimeout. Leaving the context before
        the body's end closes the connection; after it, the connection is kept for the next call.
        """
        ...


class WorkflowStore(Protocol):
    """Workflow records: SQLite (default), PostgreSQL."""

    async def create(self, new: NewWorkflow) -> Workflow:
        """A new record in status created. Raises Conflict when its id is taken."""
        ...

    async def get(self, workflow_id: str) -> Workflow:
        """The record. Raises NotFound."""
        ...

    async def page(self, query: WorkflowQuery) -> Page[Workflow]:
        """Records, newest first."""
        ...

    async def move(
        self, workflow_id: str, event: StatusEvent, lease: Lease | None = None
    ) -> Workflow:
        """Compare and set by the table of moves. Raises NotFound, or Conflict: illegal move.

        Raises Interrupted when `lease` is given, and no longer the session's.
        """
        ...

    async def pin(self, workflow_id: str, model: str) -> Workflow:
        """Remember the model of a session (JSON text); a blank never clears it. Raises NotFound."""
        ...

    async def change(self, workflow_id: str, apply: Callable[[Workflow], Workflow]) -> Workflow:
        """Store `apply` of the record, in one transaction; it may run twice. Raises NotFound.

        Title, summary, flow, job, deployment, terms and approvals may change, nothing else. What
        `apply` raises is raised, and nothing is changed.
        """
        ...

    async def delete(self, workflow_id: str) -> None:
        """The record and all that hangs on it: checkpoints, records, events. Raises NotFound."""
        ...

    async def stuck(self, before: datetime, limit: int = 100) -> Sequence[str]:
        """Ids of records in created or running that nothing has touched since `before`."""
        ...


class CheckpointStore(Protocol):
    """Checkpoints and pending writes: the same stores."""

    async def put(
        self, checkpoint: StoredCheckpoint, lease: Lease | None = None, calls: Sequence[str] = ()
    ) -> None:
        """Header and new blobs, in one transaction; doing it twice changes nothing.

        `calls` are tool calls that the checkpoint answers: the ledger forgets them with it. Raises
        Interrupted when `lease` is given, and no longer the session's.
        """
        ...

    async def put_writes(self, writes: PendingWrites, lease: Lease | None = None) -> None:
        """Pending writes; a write with the same task and index is replaced. Raises as `put`."""
        ...

    async def get(self, thread: Thread, checkpoint_id: str | None) -> StoredCheckpoint | None:
        """The checkpoint with this id, or the latest; with its blobs and writes."""
        ...

    async def page(self, query: CheckpointQuery) -> Page[StoredCheckpoint]:
        """Checkpoints of a thread, newest first."""
        ...

    async def prune(
        self, thread_id: str, gone: Sequence[StepKey], lease: Lease | None = None
    ) -> int:
        """Forget these checkpoints with their writes, and what no other needs; tells how many went.

        All others read as before, and those whose parent went have its nearest ancestor for one.
        The newest of a namespace stays, named or not. It is done in several transactions: one that
        is cut short has forgotten less, and damaged nothing. Raises as `put`.
        """
        ...

    async def delete(self, thread_id: str) -> None:
        """Everything of a thread, in every namespace."""
        ...


class UserStore(Protocol):
    """Accounts."""

    async def create(self, new: NewUser) -> User:
        """An account and its own namespace. Raises Conflict when the name or subject is taken."""
        ...

    async def get(self, user_id: int) -> User:
        """Raises NotFound."""
        ...

    async def find(self, *, username: str = "", subject: str = "", global_id: str = "") -> User:
        """The account with what is given. Raises NotFound."""
        ...

    async def change(self, user_id: int, apply: Callable[[User], User]) -> User:
        """Store `apply` of the account (name, email, admin, active, subject, password)."""
        ...

    async def all(self) -> Sequence[User]:
        """Every account, by id; at most 10,000."""
        ...


class PlaceStore(Protocol):
    """Namespaces and projects, and who belongs to them."""

    async def namespace(self, key: int | str) -> Namespace:
        """By id or full path, in any case of letters. Raises NotFound."""
        ...

    async def project(self, key: int | str) -> Project:
        """By id or full path, in any case of letters. Raises NotFound."""
        ...

    async def add_group(self, full_path: str, name: str = "") -> Namespace:
        """A group and its missing ancestors; one that is there is returned. Raises Conflict."""
        ...

    async def add_project(self, full_path: str, description: str = "") -> Project:
        """A project below a namespace that exists. Raises NotFound, or Conflict."""
        ...

    async def join(self, user_id: int, namespace_id: int, *, member: bool = True) -> None:
        """Make the user a member of the namespace and all below it, or no more one."""
        ...

    async def reaches(self, user_id: int, namespace_id: int) -> bool:
        """Whether it is the user's own, or the user is a member of it or of an ancestor."""
        ...

    async def projects(self, user_id: int | None = None) -> Sequence[Project]:
        """Every project, or those that the user reaches; by id, at most 10,000."""
        ...


class TokenStore(Protocol):
    """Tokens of accounts, by digest."""

    async def add(self, new: NewToken) -> Token: ...

    async def find(self, digest: bytes, kinds: frozenset[TokenKind]) -> Token | None:
        """The token of one of these kinds, revoked and expired ones included."""
        ...

    async def pending(self, user_code: str) -> Token | None:
        """The device token for which this code was shown."""
        ...

    async def approve(self, token_id: int, user_id: int) -> None:
        """A user stands behind a device from now on. Raises NotFound."""
        ...

    async def take(self, digest: bytes, kind: TokenKind) -> Token | None:
        """Revoke it and return it as it was; None when it is unknown or revoked already."""
        ...

    async def revoke(self, token_id: int) -> None:
        """From now on it lets nobody in; doing it twice changes nothing."""
        ...

    async def all(self, user_id: int, kind: TokenKind) -> Sequence[Token]:
        """The user's tokens of a kind that are not revoked, by id."""
        ...


class FlagStore(Protocol):
    """Feature flags that were set; others are as `core.flags.KNOWN` says."""

    async def all(self) -> Mapping[str, Flag]:
        """Those that were set, by name."""
        ...

    async def change(self, name: str, apply: Callable[[Flag], Flag]) -> Flag:
        """Store `apply` of the flag, in one transaction."""
        ...


class Runner(Protocol):
    """Runs the headless executor: a subprocess, a Kubernetes job, a GitLab CI pipeline, nothing."""

    async def start(self, job: RunnerJob) -> RunnerRef:
        """Start it. Raises Unavailable when it cannot be started, Rejected when it may not."""
        ...

    async def stop(self, ref: RunnerRef) -> None:
        """Stop it; one that ended already is no error."""
        ...


class Limiter(Protocol):
    """Counts against limits. An outage of its store falls back to a local share and is told."""

    async def take(self, key: LimitKey, cost: int) -> None:
        """Take `cost` units. Raises LimitExceeded."""
        ...


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public RSA key: modulus and exponent as numbers, and the id it was published under."""

    kid: str
    n: int
    e: int


class Quota(Protocol):
    """Credits that somebody else counts, asked for before a call."""

    async def check(self, use: Use, caller: Caller, client: ClientInfo) -> None:
        """Raises InsufficientCredits or NotEntitled; fails closed when nobody answers."""
        ...


class Search(Protocol):
    """An index of documentation."""

    async def find(self, query: str, limit: int) -> Sequence[Passage]:
        """The best passages, best first; none when there is no index."""
        ...


class KeySet(Protocol):
    """Public keys of token issuers: static ones, and JWKS over HTTP."""

    async def keys(self, kid: str | None) -> Sequence[VerificationKey]:
        """Keys that may verify a token with this `kid`: the ones so named first, else every one.

        An unknown `kid` triggers at most one refresh a minute an issuer. Raises Unavailable when
        no key at all can be had.
        """
        ...


class Telemetry(Protocol):
    """Where facts go."""

    def emit(self, fact: Fact) -> None:
        """Take a fact; never raises, never waits."""
        ...


class Pingable(Protocol):
    """An adapter with a far end."""

    async def ping(self) -> None:
        """Raises a Failure when the far end does not answer."""
        ...


class Clock(Protocol):
    """Time as a value that tests can wind."""

    def now_s(self) -> float:
        """Monotonic seconds."""
        ...

    def utc(self) -> datetime:
        """The wall clock, timezone-aware, UTC."""
        ...
