"""The prompt that a component names: inline, or one of the registry. Pure.

Source: agent-platform contract, section 7.5.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from isthmus.auth.scopes import UNIT_PRIMITIVES
from isthmus.core.errors import NotFound
from isthmus.platform.address import Input
from isthmus.platform.flow import Prompt
from isthmus.platform.flow_file import AgentPart, FlowFile, OneOffPart, PromptPart, QuestionPart
from isthmus.platform.flow_stock import Rigour, Stock
from isthmus.prompts.render import Script
from isthmus.prompts.schema import ModelParams, TemplateKey

TEXT_CHARS = 400_000
"""All templates of a flow together."""
UNSAFE = "Flow configuration failed security validation"
HISTORY = "history"
"""The placeholder that stands for the conversation."""
PAYS = "duo_agent_platform"
_HIDDEN = re.compile(
    "[\U000e0000-\U000e007f\U000e0100-\U000e01ef]|<!--|<!\\[CDATA\\["
    r"|<\s*/?\s*(?:goal|system|truncated_output|kept_output)\s*>"
    r"|^\s*\[[^\]\n]*\]:\s*(?:#|<>)",
    re.IGNORECASE | re.MULTILINE,
)
"""What a person who reads a prompt may not see, or what poses as a frame of ours."""


@dataclass(frozen=True, slots=True)
class Book:
    """The prompts that a flow may name. `persona`: a lone inline one serves whatever its name."""

    inline: Mapping[str, PromptPart]
    stock: Stock
    rigour: Rigour
    persona: bool

    def prompt(self, part: AgentPart | OneOffPart, inputs: tuple[Input, ...]) -> Prompt:
        """The component's prompt. Raises ValueError that begins with the key at fault."""
        if part.prompt_version is not None:
            found = self._registered(part.prompt_id, part.prompt_version)
        else:
            found = self._inline(part.prompt_id)
        scripts = (found.script,) if found.tail is None else (found.script, found.tail)
        self.supplied(inputs, *scripts)
        return found

    def supplied(self, inputs: tuple[Input, ...], *scripts: Script) -> None:
        """Raises ValueError when a template reads what no input gives, or an input is unused."""
        given = {one.name for one in inputs}
        read = frozenset[str]().union(*(one.inputs for one in scripts))
        spared = frozenset[str]().union(*(one.optional for one in scripts))
        if missing := read - given - spared:
            raise ValueError(f"inputs: {min(missing)!r} is used by a template and not given")
        # The goal is every component's input by default.
        unused = given - read - spared - {"goal"}
        if self.rigour.unused and unused:
            raise ValueError(f"inputs: {min(unused)!r} is given and used by no template")

    def script(self, templates: Mapping[TemplateKey, str], source: str) -> Script:
        """A template of the flow's own. Raises ValueError when it cannot be compiled."""
        script = Script(self.stock.prompts.language, templates, source)
        script.check()
        return script

    def _registered(self, prompt_id: str, version: str) -> Prompt:
        try:
            found = self.stock.prompts.get(prompt_id, version)
        except NotFound as error:
            raise ValueError(f"prompt_id: {error.detail}") from error
        script, tail = found.script.around(HISTORY)
        return Prompt(
            script,
            found.unit_primitive,
            found.params,
            found.stop,
            tail,
            found.timeout_s,
            found.openai,
        )

    def _inline(self, prompt_id: str) -> Prompt:
        part = self.inline.get(prompt_id)
        if part is None and self.persona and len(self.inline) == 1:
            part = next(iter(self.inline.values()))
        if part is None:
            raise ValueError(
                f"prompt_id: there is no inline prompt {prompt_id!r}; one of the registry needs a "
                "prompt_version"
            )
        templates: dict[TemplateKey, str] = {
            key: text if isinstance(text, str) else "\n\n".join(text)
            for key, text in part.prompt_template.items()
        }
        if templates.get("placeholder", HISTORY).strip() != HISTORY:
            raise ValueError(f"prompt {part.prompt_id}: the placeholder must be {HISTORY!r}")
        script, tail = self.script(templates, f"prompt {part.prompt_id}").around(HISTORY)
        model, call = part.model, part.params
        said = ModelParams()
        if model is not None:
            given = model.params
            said = ModelParams(
                temperature=given.temperature,
                max_tokens=given.max_tokens,
                top_p=given.top_p,
                top_k=given.top_k,
            )
        pays = part.unit_primitives[0] if part.unit_primitives else ""
        return Prompt(
            script,
            pays if pays in UNIT_PRIMITIVES else PAYS,
            said,
            call.stop if call else (),
            tail,
            call.timeout if call else None,
            model.provider_params.openai if model else None,
        )


def unsafe(said: FlowFile) -> str:
    """Why a flow's own texts are refused; empty when they are not."""
    texts = [
        text
        for prompt in said.prompts
        for lines in prompt.prompt_template.values()
        for text in ([lines] if isinstance(lines, str) else lines)
    ]
    asked = (part for part in said.components if isinstance(part, QuestionPart))
    texts += [part.message_template or "" for part in asked]
    if sum(map(len, texts)) > TEXT_CHARS:
        return "prompts: they are too long"
    return UNSAFE if any(_HIDDEN.search(text) for text in texts) else ""
