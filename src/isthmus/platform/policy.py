"""May a tool call run, must the user be asked, or is it refused? Pure.

Source: agent-platform contract, sections 3.8 (policy claim), 8.1 and 8.7 (order in chat).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from isthmus.core.approval import matches
from isthmus.core.workflow import ToolApproval
from isthmus.platform.exclusion import NOTHING, REASON, Exclusion
from isthmus.platform.paths import refusal
from isthmus.platform.tool import Tool


@dataclass(frozen=True, slots=True)
class Allow:
    """Run it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Run it once the user has agreed."""


@dataclass(frozen=True, slots=True)
class Deny:
    """Do not run it; `reason` is for the model."""

    reason: str


Verdict = Allow | Ask | Deny


@dataclass(frozen=True, slots=True)
class Policy:
    """What was agreed beforehand, for one stream. `denied` tools do not exist for the model.

    `approvals` is what the owner allowed for the rest of the session, by tool; `exclusion` are the
    project's rules of files.
    """

    preapproved: frozenset[str] = field(default=frozenset())
    denied: frozenset[str] = field(default=frozenset())
    asks: bool = True
    approvals: Mapping[str, ToolApproval] = field(default_factory=dict[str, ToolApproval])
    exclusion: Exclusion = NOTHING

    def verdict(self, tool: Tool, args: object, args_json: str = "{}") -> Verdict:
        """What to do with one call whose arguments already fit their schema."""
        if tool.name in self.denied:
            return Deny(f"There is no tool named {tool.name!r}.")
        paths = tool.paths(args)
        for path in paths:
            if reason := refusal(path, reading=tool.effect == "read"):
                return Deny(reason)
        # A tool of several paths says itself which of them it left out.
        if len(paths) == 1 and self.exclusion.hides(paths[0]):
            return Deny(f"{paths[0]!r} is {REASON}.")
        if not self.asks or tool.name in self.preapproved:
            return Allow()
        allowed = self.approvals.get(tool.name)
        if allowed is not None and matches(allowed, tool.name, args_json):
            return Allow()
        return Ask()


def agreed(
    flow: Iterable[str],
    client: Iterable[str],
    claim: object,
    *,
    asks: bool = True,
    approvals: Mapping[str, ToolApproval] | None = None,
) -> Policy:
    """The policy of a stream: the flow's own approvals, the client's, and the token's claim.

    A claim with any name in it replaces what the client approved; one that cannot be read clears
    it, and denies nothing.
    """
    own, theirs, given = frozenset(flow), frozenset(client), approvals or {}
    if claim is None or claim == "":
        return Policy(own | theirs, asks=asks, approvals=given)
    lists = _lists(claim)
    if lists is None:
        return Policy(own, asks=asks, approvals=given)
    allow, ask, deny = lists
    if allow or ask or deny:
        theirs = allow
    return Policy((own | theirs) - ask - deny, deny, asks, given)


def _lists(
    claim: object,
) -> tuple[frozenset[str], frozenset[str], frozenset[str]] | None:
    if isinstance(claim, str):
        try:
            claim = json.loads(claim)
        except (ValueError, RecursionError):
            return None
    if not isinstance(claim, Mapping):
        return None
    try:
        named = msgspec.convert(dict(claim), _Claim)  # pyright: ignore[reportUnknownArgumentType] - any JSON; convert checks it
    except msgspec.ValidationError:
        return None
    return frozenset(named.allow), frozenset(named.ask), frozenset(named.deny)


class _Claim(msgspec.Struct, frozen=True):
    allow: list[str] = []
    ask: list[str] = []
    deny: list[str] = []


def patterns(tool_name: str, args: Mapping[str, object]) -> list[str]:
    """Wider approvals to offer for a command: all words but the last, and the first two."""
    match tool_name:
        case "run_command":
            line = args.get("command") or f"{args.get('program', '')} {args.get('args') or ''}"
        case "run_git_command":
            line = f"git {args.get('command', '')} {args.get('args') or ''}"
        case _:
            return []
    words = str(line).split()
    if len(words) <= 2:
        return []
    offers = (" ".join([*words[:-1], "*"]), " ".join([*words[:2], "*"]))
    return list(dict.fromkeys(offers))
