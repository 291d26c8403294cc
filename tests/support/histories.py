"""Random histories of a thread: turns, pauses, forks, snapshots, and graphs within the graph.

A history knows what each of its checkpoints holds, and which were taken out; the store under test
is compared with that.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from isthmus.adapters.stores.assemble import encode_refs
from isthmus.core.checkpoint import StepKey, StoredCheckpoint, Thread, Write
from isthmus.platform import checkpoints
from isthmus.platform.checkpoints import Known, encode, pack
from isthmus.platform.instance_packing import INTERRUPT

Row = Mapping[str, Any]
CHANNELS = ("ui_chat_log", "conversation_history", "status", "context", "plan")


@dataclass(frozen=True, slots=True)
class Made:
    """A checkpoint as it was written, and what it is to be read as."""

    stored: StoredCheckpoint
    known: Known
    state: Mapping[str, Any]
    source: str

    @property
    def key(self) -> StepKey:
        """Its namespace and id."""
        return self.stored.thread.ns, self.stored.checkpoint_id

    @property
    def waits(self) -> bool:
        """Whether something is pending here, such as a question to the user."""
        return bool(self.stored.writes)


@dataclass(slots=True)
class History:
    """What was written to a thread, oldest first."""

    thread_id: str
    random: Random
    made: dict[StepKey, Made] = field(default_factory=dict[StepKey, Made])
    out: set[StepKey] = field(default_factory=set[StepKey])

    def grow(self, steps: int) -> "History":
        """Go on for so many steps."""
        spaces = ["", *(f"agent:{n}" for n in range(self.random.choice((0, 0, 1, 2))))]
        for _ in range(steps):
            self.step(self.random.choice(spaces))
        return self

    def step(self, ns: str) -> Made:
        """One step more: mostly from the newest, at times from any that is still there."""
        dice = self.random
        there = [made for key, made in self.made.items() if key[0] == ns and key not in self.out]
        newest = there[-1] if there else None
        base = dice.choice(there) if there and dice.random() < 0.2 else newest
        known = None
        if base is not None and base is newest and dice.random() < 0.9:
            # Now and then a channel begins anew: its chain has become too long.
            drop = dice.choice(CHANNELS) if dice.random() < 0.2 else ""
            refs = {name: ref for name, ref in base.known.refs.items() if name != drop}
            known = replace(base.known, refs=refs)
        state = _changed({} if base is None else base.state, dice)
        begins = base is None or base is not newest or dice.random() < 0.2
        source = dice.choice(("input", "fork", "update")) if begins else "loop"
        stored, known = encode(
            checkpoints.Step(
                thread=Thread(self.thread_id, ns),
                checkpoint_id=f"{len(self.made):06}",
                parent_id=None if base is None else base.stored.checkpoint_id,
                header={"id": len(self.made)},
                metadata={"source": source},
                values=state,
                changed=state.keys(),
            ),
            known,
        )
        made = Made(replace(stored, writes=tuple(_writes(dice))), known, state, source)
        self.made[made.key] = made
        return made

    def left(self) -> dict[StepKey, Made]:
        """What is still there."""
        return {key: made for key, made in self.made.items() if key not in self.out}

    def newest(self) -> set[StepKey]:
        """The newest of each namespace."""
        return set({ns: (ns, step) for ns, step in self.made}.values())

    def take_out(self, gone: Collection[StepKey]) -> int:
        """What a store is to do; tells how many go."""
        out = (set(gone) & self.left().keys()) - self.newest()
        self.out |= out
        return len(out)

    def parent(self, made: Made) -> str | None:
        """The nearest ancestor that is still there."""
        ns, parent = made.stored.thread.ns, made.stored.parent_id
        while parent is not None and (ns, parent) in self.out:
            parent = self.made[ns, parent].stored.parent_id
        return parent

    def needed(self) -> set[tuple[str, str, str, int, int]]:
        """The keys of the blobs that are still of use."""
        return {
            (self.thread_id, ns, ref.channel, ref.group, seq)
            for (ns, _), made in self.left().items()
            for ref in made.stored.refs
            for seq in range(ref.seq + 1)
        }


def rows(history: History) -> Iterator[tuple[str, Row]]:
    """All rows of a history, each with the name of its table: many at once are soon written."""
    for (ns, step), made in history.made.items():
        stored = made.stored
        thread = {"thread_id": history.thread_id, "ns": ns}
        yield (
            "checkpoints",
            {
                **thread,
                "checkpoint_id": step,
                "parent_id": stored.parent_id,
                "header": stored.header,
                "metadata": stored.metadata,
                "refs": encode_refs(stored.refs),
            },
        )
        for blob in stored.blobs:
            ref = {"channel": blob.ref.channel, "grp": blob.ref.group, "seq": blob.ref.seq}
            yield "checkpoint_blobs", {**thread, **ref, "data": blob.data}
        for write in stored.writes:
            at = {"checkpoint_id": step, "task_id": write.task_id, "idx": write.index}
            what = {"channel": write.channel, "task_path": write.task_path, "data": write.data}
            yield "checkpoint_writes", {**thread, **at, **what}


def _changed(state: Mapping[str, Any], dice: Random) -> dict[str, Any]:
    """Another state: lists grow, now and then one is cut, the rest is replaced."""
    log: list[Any] = list(state.get("ui_chat_log", ()))
    if log and dice.random() < 0.1:
        del log[dice.randrange(len(log)) :]
    log.append({"n": dice.randrange(1_000)})
    spoken: dict[str, list[Any]] = dict(state.get("conversation_history", {}))
    agent = dice.choice("ab")
    spoken[agent] = [*spoken.get(agent, ()), f"said {dice.randrange(1_000)}"]
    changed: dict[str, Any] = {
        "ui_chat_log": log,
        "conversation_history": spoken,
        "status": dice.randrange(3),
    }
    if dice.random() < 0.3:
        changed["context"] = {"goal": "x" * dice.choice((1, 2_000)), "n": dice.random()}
    elif "context" in state and dice.random() < 0.9:
        changed["context"] = state["context"]
    if dice.random() < 0.5:
        changed["plan"] = {"steps": [dice.randrange(9)]}
    return changed


def _writes(dice: Random) -> Iterator[Write]:
    if dice.random() < 0.2:
        yield Write("task", -3, INTERRUPT, pack({"ask": dice.randrange(9)}))
    if dice.random() < 0.1:
        yield Write("other", 0, "status", pack(dice.randrange(9)), "~path")
