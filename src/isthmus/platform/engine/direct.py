"""Nodes that run without the runs of a tracer around them: nobody listens to those here."""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.graph import START
from langgraph.graph.state import CompiledStateGraph

Graph = TypeVar("Graph", bound=CompiledStateGraph[Any, Any, Any, Any])


class Direct(Runnable[Any, Any]):
    """A node, and then what writes its result to the channels.

    LangGraph's own sequence does the same, in one more task and with callbacks for each part: a
    twentieth of what a step of a session costs.
    """

    def __init__(self, node: Runnable[Any, Any], writers: Sequence[Runnable[Any, Any]]) -> None:
        self._node, self._writers = node, writers

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - the library's name
        """Raises NotImplementedError: the engine has a loop."""
        raise NotImplementedError

    async def ainvoke(
        self,
        input: Any,  # noqa: A002 - the library's name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run the node, and write."""
        # Where `interrupt` looks for the checkpoint that it belongs to.
        before = var_child_runnable_config.set(config)
        try:
            said = await self._node.ainvoke(input, config, **kwargs)
        finally:
            var_child_runnable_config.reset(before)
        for writer in self._writers:
            await writer.ainvoke(said, config)
        return said


def untraced(graph: Graph) -> Graph:
    """The graph, every node of which runs in the direct way."""
    for name, node in graph.nodes.items():
        if name != START:
            writers = cast("list[Runnable[Any, Any]]", node.writers)
            node.bound, node.writers = Direct(node.bound, writers), []
    return graph
