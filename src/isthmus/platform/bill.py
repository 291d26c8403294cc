"""What one stream of a session used, for the event that it is billed by.

Source: agent-platform contract, section 10.4.
"""

from typing import Final

from isthmus.core.events import ModelUse, SessionBilled
from isthmus.core.identity import ClientInfo
from isthmus.core.messages import ModelChoice, Usage
from isthmus.platform.opening import MODEL_HEADER, Opening

MAX_OPERATIONS: Final = 1_000
MAX_TOOLS: Final = 200


def used(agent: str, choice: ModelChoice, usage: Usage | None, operation: str) -> ModelUse:
    """A model's answer to an agent, as bills list it."""
    told = usage or Usage()
    return ModelUse(
        agent,
        choice.upstream,
        choice.engine,
        choice.provider,
        told.input_tokens,
        told.output_tokens,
        told.cache_read_tokens,
        told.cache_write_tokens,
        operation,
    )


class Bill:
    """Grows while the stream runs; what passes its bounds is counted in what was there before."""

    def __init__(self) -> None:
        self._operations: list[ModelUse] = []
        self._tools: dict[str, None] = {}

    def model(self, use: ModelUse) -> None:
        """A model answered an agent."""
        if len(self._operations) < MAX_OPERATIONS:
            self._operations.append(use)

    def tool(self, name: str) -> None:
        """A tool was called."""
        if len(self._tools) < MAX_TOOLS:
            self._tools[name] = None

    def fact(self, opening: Opening) -> SessionBilled | None:
        """The bill; None when no model was asked."""
        if not self._operations:
            return None
        # The model's header may hold a key.
        said = opening.client.headers
        return SessionBilled(
            workflow_id=opening.start.given_id,
            feature=opening.feature,
            catalogued=opening.selector.inline,
            caller=opening.caller,
            client=ClientInfo({name: said[name] for name in said if name != MODEL_HEADER}),
            used=(
                *(("model", use) for use in self._operations),
                *(("tool", name) for name in self._tools),
            ),
        )
