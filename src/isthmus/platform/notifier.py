"""What a client is shown of a running session, and when: snapshots at once, text every 50 ms.

Pure: time comes in as a value. Source: agent-platform contract, sections 5.3 to 5.7.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from isthmus.contract.contract_pb2 import NewCheckpoint, TokenBreakdown
from isthmus.core.workflow import Status
from isthmus.platform import entries
from isthmus.platform.entries import Entry

PACE_S = 0.05
_JSON = msgspec.json.Encoder()
_HEAD, _PLAN, _TAIL = b'{"channel_values":{"ui_chat_log":[', b'],"plan":{"steps":', b"}}}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state after a step. `usage`: agent -> (tokens used, tokens that fit).

    `plan` are the steps of the plan, each with id, description and status.
    """

    log: Sequence[Entry]
    status: Status
    usage: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    plan: Sequence[Mapping[str, str]] = ()


class Notifier:
    """Keeps what is to be shown, and composes the next notice from it."""

    def __init__(self, goal: str, *, incremental: bool, limit_bytes: int) -> None:
        self._goal = goal
        self._incremental = incremental
        self._limit_bytes = limit_bytes
        self._log: list[tuple[Entry, bytes]] = []
        self._sent: list[bytes] = []
        self._status = Status.RUNNING
        self._usage: Mapping[str, tuple[int, int]] = {}
        self._model = ""
        self._errors: list[str] = []
        self._plan = b"[]"
        self._partials: dict[str, _Partial] = {}
        self._changed = True
        self._sent_at_s = float("-inf")

    @property
    def status(self) -> Status:
        """The status of the last notice that was composed, or of the next one."""
        return self._status

    def model(self, text: str) -> None:
        """Name the session's model: the JSON text that goes into every notice."""
        self._model = text

    def take(self, snapshot: Snapshot) -> None:
        """A step ended: its state replaces what was known, streamed text included."""
        known = self._log
        self._log = [
            known[place]
            if place < len(known) and known[place][0] is entry
            else (entry, _JSON.encode(entry))
            for place, entry in enumerate(snapshot.log)
        ]
        self._status, self._usage = snapshot.status, snapshot.usage
        self._plan = _JSON.encode(snapshot.plan)
        self._partials = {}
        self._changed = True

    def say(self, message_id: str, text: str, at: str, component: str) -> None:
        """More text of a message that a model is writing; several may be written at once.

        "" takes back what was said of it.
        """
        if message_id not in self._partials or not text:
            self._partials[message_id] = _Partial(message_id, at, component, [])
        self._partials[message_id].texts.append(text)
        self._changed = True

    def wait_s(self, now_s: float) -> float:
        """Seconds until streamed text may be sent; zero when it may go at once."""
        return max(0.0, self._sent_at_s + PACE_S - now_s)

    def fail(self, entry: Entry) -> None:
        """The session failed; `entry` says why."""
        self._log.append((entry, _JSON.encode(entry)))
        self._errors = [str(entry["content"])]
        self._status, self._partials, self._changed = Status.FAILED, {}, True

    def pause(self, entry: Entry) -> None:
        """The session pauses; `entry` says why."""
        self.fail(entry)
        self._status = Status.PAUSED

    def stop(self) -> None:
        """The user stopped the session: the log is shown empty."""
        self._log, self._sent = [], []
        self._status, self._partials, self._changed = Status.STOPPED, {}, True

    def compose(self, now_s: float) -> NewCheckpoint | None:
        """The next notice, or None when nothing changed since the last one."""
        if not self._changed:
            return None
        encoded = [data for _, data in self._log]
        encoded += [_JSON.encode(partial.entry()) for partial in self._partials.values()]
        shown = self._fitting(encoded[self._first(encoded) :])
        self._sent, self._changed, self._sent_at_s = encoded, False, now_s
        usage = {
            name: TokenBreakdown(total_tokens=total, max_tokens=most)
            for name, (total, most) in self._usage.items()
        }
        return NewCheckpoint(
            status=self._status.name,
            checkpoint=(_HEAD + b",".join(shown) + _PLAN + self._plan + _TAIL).decode(),
            goal=self._goal,
            errors=self._errors,
            agent_context_usage=usage,
            model_metadata_json=self._model or None,
        )

    def _first(self, encoded: list[bytes]) -> int:
        """Where a delta begins: the last entry that was sent, or the first that changed since."""
        if not self._incremental or not self._sent:
            return 0
        last = len(self._sent) - 1
        for place, (old, new) in enumerate(zip(self._sent, encoded, strict=False)):
            if old is not new and old != new:
                return min(place, last)
        return min(last, len(encoded))

    def _fitting(self, encoded: list[bytes]) -> list[bytes]:
        """The newest entries that a message can hold: a client keeps the older ones by their id."""
        room = self._limit_bytes // 2
        if sum(map(len, encoded)) <= room:
            return encoded
        first = len(encoded)
        while first > 0 and (room := room - len(encoded[first - 1]) - 1) > 0:
            first -= 1
        return encoded[min(first, len(encoded) - 1) :]


@dataclass(slots=True)
class _Partial:
    message_id: str
    at: str
    component: str
    texts: list[str]

    def entry(self) -> Entry:
        whole = "".join(self.texts)
        self.texts[:] = [whole]
        return entries.agent(whole, self.message_id, self.at, self.component)
