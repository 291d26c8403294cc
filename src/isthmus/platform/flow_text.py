"""A flow as lines of text: its components, and the ways between them. Pure."""

from collections.abc import Iterator

from isthmus.platform.flow import DEFAULT_ROUTE, Agent, Component, FixedStep, Flow, OneOff, Question


def lines(flow: Flow) -> Iterator[str]:
    """Each component, with what it is, and below it the ways that lead on; the entry has a `>`."""
    under = flow.supervisors
    for part in flow.components:
        if part.name in under:
            continue
        mark = ">" if part.name == flow.entry else " "
        yield f"{mark} {part.name}: {what(part)}"
        for name in under:
            if under[name] == part.name:
                yield f"    = {name}: {what(flow.agents[name])}"
        if flow.talks:
            yield "    -> the user, and back"
            continue
        route = flow.routes[part.name]
        if route.by is not None:
            yield f"    by {route.by.target}:{'.'.join(route.by.path)}"
        for text, target in route.to.items():
            value = "" if route.by is None else "else " if text == DEFAULT_ROUTE else f"{text} "
            yield f"    {value}-> {target}"


def what(part: Component) -> str:
    """What a component is, in a few words."""
    match part:
        case Agent():
            shape = f", answers as {part.shape.id}" if part.shape is not None else ""
            return f"agent, {_tools(part)}{shape}"
        case OneOff(agent):
            return f"one turn, {_tools(agent)}"
        case Question():
            return f"{'approval' if part.approval else 'question'} for {part.answers_to}"
        case FixedStep():
            return f"calls {part.tool}"


def _tools(agent: Agent) -> str:
    return f"{len(agent.toolset)} tools" if len(agent.toolset) != 1 else "1 tool"
