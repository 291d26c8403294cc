"""Every prompt, by id and version; filled once at start from `library/prompts`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.resources.abc import Traversable

from isthmus.core.errors import NotFound
from isthmus.core.messages import Message, Tuning
from isthmus.prompts.render import Fragments, Script, echoed
from isthmus.prompts.schema import (
    ModelParams,
    OpenAIParams,
    OperationType,
    PromptFile,
    Reasoning,
    TemplateKey,
    parse_prompt,
)
from isthmus.prompts.semver import Version, parse, pick

PREAMBLE = "fragments/preamble.jinja"
"""The fragment that stands before the first system message of a prompt."""
_DEPTH = 6
_USUAL = "^1.0.0"


@dataclass(frozen=True, slots=True)
class Prompt:
    """One version of a prompt, as it was asked for.

    `unit_primitive` is the scope that running it needs. `pinned_model` is the catalogue's id of
    the model that serves when the caller names none; "" when that is the feature's affair, as it
    always is when a constraint picked the version.
    """

    id: str
    version: Version
    name: str
    unit_primitive: str
    script: Script
    params: ModelParams
    stop: tuple[str, ...] = ()
    timeout_s: float | None = None
    openai: OpenAIParams | None = None
    operation_type: OperationType = "standard"
    pinned_model: str = ""

    @property
    def inputs(self) -> frozenset[str]:
        """The variables that must be given."""
        return self.script.inputs

    def messages(self, variables: Mapping[str, object]) -> tuple[Message, ...]:
        """The rendered messages. Raises Invalid for missing variables, TooLarge."""
        return self.script.render(variables)

    def tuning(self, provider: str) -> Tuning:
        """What the prompt tells a model of this provider, besides temperature and limits."""
        return tuned(self.params, self.openai, provider)


def tuned(params: ModelParams, own: OpenAIParams | None, provider: str) -> Tuning:
    """What a prompt tells a model of this provider; `own` counts for OpenAI's alone."""
    openai = own if provider == "openai" else None
    reasoning = (openai and openai.reasoning) or Reasoning()
    return Tuning(
        top_p=params.top_p,
        top_k=params.top_k,
        effort=reasoning.effort,
        summary=reasoning.summary,
        verbosity=openai.verbosity if openai else None,
        headers=tuple(params.extra_headers.items()),
    )


class Registry:
    """Prompts by id, each in one or more versions.

    `files` maps paths under the prompts' root to their text: `<id>/<semver>.yml` are prompts, where
    the id may hold slashes, and `*.jinja` are fragments for `{% include %}`. Raises ValueError with
    one line a fault, each naming the file and the key; `check` tells of faulty templates.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        texts = {name: text for name, text in files.items() if name.endswith(".jinja")}
        fragments = Fragments(texts)
        self.language = fragments
        self._prompts: dict[str, dict[str, Prompt]] = {}
        faults: list[str] = []
        for path, text in sorted(files.items()):
            if path.endswith(".yml"):
                try:
                    self._add(fragments, path, text)
                except ValueError as error:
                    faults.append(f"{path}: {error}")
        if faults:
            raise ValueError("\n".join(faults))
        self._usual = {
            prompt_id: _unpinned(versions[found.text])
            for prompt_id, versions in self._prompts.items()
            if (found := pick((p.version for p in versions.values()), _USUAL)) is not None
        }

    @classmethod
    def load(cls, root: Traversable) -> "Registry":
        """The registry of all prompt files under a folder, read now."""
        return cls(dict(_files(root, "", 0)))

    @classmethod
    def below(cls, texts: Mapping[str, str], root: str) -> "Registry":
        """The registry of the texts whose paths begin with `root`."""
        return cls({p.removeprefix(root): text for p, text in texts.items() if p.startswith(root)})

    def get(self, prompt_id: str, version: str = _USUAL) -> Prompt:
        """The prompt whose version is named, or the highest that the constraint allows.

        Raises NotFound, in a sentence for the caller, when there is no such prompt or version, or
        when `version` is no constraint.
        """
        if version == _USUAL and prompt_id in self._usual:
            return self._usual[prompt_id]
        versions = self._prompts.get(prompt_id)
        if versions is None:
            raise NotFound(
                f"Failed to load prompt definition for '{echoed(prompt_id)}': no such prompt"
            )
        if version in versions:
            return versions[version]
        wanted = f"'{echoed(version)}'"
        try:
            found = pick((prompt.version for prompt in versions.values()), version)
        except ValueError as error:
            raise NotFound(f"{wanted} is not a valid version constraint") from error
        if found is None:
            known = ", ".join(versions)
            raise NotFound(f"No version matching {wanted} for '{prompt_id}'; there are {known}")
        return _unpinned(versions[found.text])

    def ids(self) -> tuple[str, ...]:
        """The ids of all prompts, sorted."""
        return tuple(sorted(self._prompts))

    def versions(self, prompt_id: str) -> tuple[Prompt, ...]:
        """All versions of a prompt, lowest first; those of one file share their `script`."""
        return tuple(self._prompts[prompt_id].values())

    def check(self) -> tuple[str, ...]:
        """Compile every template. One line a fault, naming the file and the key."""
        faults: dict[str, None] = {}
        for versions in self._prompts.values():
            for prompt in versions.values():
                try:
                    prompt.script.check()
                except ValueError as error:
                    faults[str(error)] = None
        return tuple(faults)

    def _add(self, fragments: Fragments, path: str, text: str) -> None:
        prompt_id, _, stem = path.removesuffix(".yml").rpartition("/")
        if not prompt_id:
            raise ValueError("a prompt stands in a folder that names it")
        own = parse(stem)
        file = parse_prompt(text)
        templates = _with_preamble(file, fragments.texts.get(PREAMBLE, ""))
        prompt = Prompt(
            id=prompt_id,
            version=own,
            name=file.name,
            unit_primitive=file.unit_primitive,
            script=Script(fragments, templates, path),
            params=file.model.params,
            stop=file.params.stop,
            timeout_s=file.params.timeout,
            openai=file.model.provider_params.openai,
            operation_type=file.operation_type,
            pinned_model=file.pin or "",
        )
        known = self._prompts.setdefault(prompt_id, {})
        served = {parse(older): pin or "" for older, pin in file.serves.items()}
        for version, pin in (*served.items(), (own, prompt.pinned_model)):
            if version.text in known:
                raise ValueError(f"serves: {version.text} has a text already")
            known[version.text] = replace(prompt, version=version, pinned_model=pin)
        self._prompts[prompt_id] = dict(sorted(known.items(), key=lambda one: one[1].version.order))


def _unpinned(prompt: Prompt) -> Prompt:
    return replace(prompt, pinned_model="") if prompt.pinned_model else prompt


def _with_preamble(file: PromptFile, preamble: str) -> dict[TemplateKey, str]:
    templates = file.templates
    first: TemplateKey | None = next((key for key in templates if key.startswith("system")), None)
    if first is not None and preamble and file.preamble:
        templates[first] = f"{preamble.strip()}\n\n{templates[first]}"
    return templates


def _files(folder: Traversable, path: str, depth: int) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        name = f"{path}{entry.name}"
        if entry.is_dir():
            if depth < _DEPTH:
                yield from _files(entry, f"{name}/", depth + 1)
        elif entry.name.endswith((".yml", ".jinja")):
            yield name, entry.read_text(encoding="utf-8")
