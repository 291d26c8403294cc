"""Which tools an agent is offered, and what of them was agreed beforehand. Pure.

Source: agent-platform contract, sections 3.6, 3.8, 8.1 and 8.5 to 8.7.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from isthmus.core.identity import ClientInfo
from isthmus.core.workflow import PRIVILEGES, Terms, ToolApproval
from isthmus.platform.exclusion import NOTHING, Exclusion
from isthmus.platform.policy import Policy, agreed
from isthmus.platform.start import Start
from isthmus.platform.tool import Effect, Tool
from isthmus.platform.versions import at_least

_NEEDED: Final[Mapping[Effect, frozenset[str]]] = {
    "read": frozenset({"read_only_files", "read_write_files"}),
    "write": frozenset({"read_write_files"}),
    "run": frozenset({"run_commands"}),
    "git": frozenset({"use_git"}),
    "gitlab_read": frozenset({"read_only_gitlab", "read_write_gitlab"}),
    "gitlab_write": frozenset({"read_write_gitlab"}),
    "flows": frozenset({"start_flows"}),
    "mcp": frozenset({"run_mcp_tools"}),
}
"""Effect of a tool -> privileges, any of which admits it; the others need none."""
_ABLE_SINCE = (7, 43, 0)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a flow wants for one of its agents.

    `heeds_client`: what the start message approves beforehand counts.
    """

    toolset: tuple[str, ...]
    preapproved: tuple[str, ...] = ()
    asks: bool = True
    with_mcp: bool = True
    heeds_client: bool = True
    fixed: Mapping[str, Mapping[str, object]] = field(
        default_factory=dict[str, Mapping[str, object]]
    )


@dataclass(frozen=True, slots=True)
class Given:
    """What a session brings along. `claim` is the token's policy of tools.

    `served` are tools of MCP servers of our own; of one name, they win over those of the client.
    """

    start: Start
    client: ClientInfo
    terms: Terms
    approvals: Mapping[str, ToolApproval]
    claim: object = None
    exclusion: Exclusion = NOTHING
    served: Mapping[str, Tool] = field(default_factory=dict[str, Tool])


@dataclass(frozen=True, slots=True)
class Kit:
    """The tools on offer to one agent, and the policy for them."""

    tools: Mapping[str, Tool]
    policy: Policy


def kit(wishes: Wishes, given: Given, known: Mapping[str, Tool]) -> Kit:
    """The kit; a tool of ours is never replaced by one that the client brings.

    Names that are unknown or not admitted are left out silently, as flows rely on it.
    """
    privileges = frozenset(PRIVILEGES[key] for key in given.terms.privileges if key in PRIVILEGES)
    admitted = {
        tool.name: tool for tool in _listed(wishes, given, known) if _admitted(tool, privileges)
    }
    beforehand = frozenset(PRIVILEGES[n] for n in given.terms.preapproved if n in PRIVILEGES)
    own = {*wishes.preapproved}
    own |= {
        tool.name
        for tool in admitted.values()
        if tool.agreed
        or tool.effect == "plan"
        or _NEEDED.get(tool.effect, frozenset()) & beforehand
    }
    theirs = _said(given.start.preapproved if wishes.heeds_client else (), admitted.values())
    policy = agreed(own, theirs, given.claim, asks=wishes.asks, approvals=given.approvals)
    offered = {
        name: replace(tool, fixed=wishes.fixed[name]) if name in wishes.fixed else tool
        for name, tool in admitted.items()
        if not {name, tool.original} & policy.denied
    }
    return Kit(offered, replace(policy, exclusion=given.exclusion))


def _listed(wishes: Wishes, given: Given, known: Mapping[str, Tool]) -> Iterable[Tool]:
    def has(capability: str) -> bool:
        return capability in given.start.capabilities

    servers = {**given.start.mcp, **given.served} if given.terms.mcp else {}
    brought = {name: tool for name, tool in servers.items() if name not in known}
    if wishes.with_mcp:
        yield from brought.values()
    for name in wishes.toolset:
        if name in known:
            tool = known[name].suited(has)
            if tool.capability and not has(tool.capability):
                continue
            if tool.effect == "plan" or _reaches_executor(given.client):
                yield tool
        elif name in brought:
            yield brought[name]


def _admitted(tool: Tool, privileges: frozenset[str]) -> bool:
    needed = _NEEDED.get(tool.effect)
    return needed is None or bool(needed & privileges)


def _reaches_executor(client: ClientInfo) -> bool:
    """Whether the client is new enough for tools of ours; one that tells no version is."""
    text = client.get("x-gitlab-language-server-version")
    return not text or at_least(text, _ABLE_SINCE)


def _said(names: Collection[str], tools: Iterable[Tool]) -> frozenset[str]:
    """The client's names; tools that it brings are known to it by their original ones."""
    listed = frozenset(names)
    return listed | {tool.name for tool in tools if tool.original and tool.original in listed}
