"""Every prompt, by id and version; filled once at start from `library/prompts`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable

from isthmus.core.errors import NotFound
from isthmus.core.messages import Message
from isthmus.prompts.render import Part, Sandbox, compile_parts, render
from isthmus.prompts.schema import ModelParams, parse_prompt
from isthmus.prompts.semver import Version, parse, pick

_DEPTH = 6
_USUAL = "^1.0.0"


@dataclass(frozen=True, slots=True)
class Prompt:
    """One version of a prompt, compiled. `unit_primitive` is the scope that running it needs."""

    id: str
    version: Version
    name: str
    unit_primitive: str
    parts: tuple[Part, ...]
    params: ModelParams
    stop: tuple[str, ...]
    timeout_s: float | None

    def messages(self, variables: Mapping[str, object]) -> tuple[Message, ...]:
        """The rendered messages. Raises Invalid for a missing variable, TooLarge."""
        return render(self.parts, variables)


class Registry:
    """Prompts by id, each in one or more versions.

    `files` maps paths under the prompts' root to their text: `<id>/<semver>.yml` are prompts, where
    the id may hold slashes, and `*.jinja` are fragments for `{% include %}`. Raises ValueError that
    names the file and the key at fault.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        sandbox = Sandbox({name: text for name, text in files.items() if name.endswith(".jinja")})
        self._prompts: dict[str, dict[Version, Prompt]] = {}
        for path, text in sorted(files.items()):
            if path.endswith(".yml"):
                prompt = _prompt(sandbox, path, text)
                self._prompts.setdefault(prompt.id, {})[prompt.version] = prompt
        self._usual = {
            prompt_id: versions[found]
            for prompt_id, versions in self._prompts.items()
            if (found := pick(versions, _USUAL)) is not None
        }

    @classmethod
    def load(cls, root: Traversable) -> "Registry":
        """The registry of all prompt files under a folder, read now."""
        return cls(dict(_files(root, "", 0)))

    def get(self, prompt_id: str, version: str = _USUAL) -> Prompt:
        """The prompt whose version is named, or the highest that the constraint allows.

        Raises NotFound when there is no such prompt or version, or no such constraint.
        """
        if version == _USUAL and prompt_id in self._usual:
            return self._usual[prompt_id]
        versions = self._prompts.get(prompt_id)
        if versions is None:
            raise NotFound("There is no such prompt")
        try:
            found = pick(versions, version)
        except ValueError as error:
            raise NotFound("There is no such version of the prompt") from error
        if found is None:
            raise NotFound("There is no such version of the prompt")
        return versions[found]

    def ids(self) -> tuple[str, ...]:
        """The ids of all prompts, sorted."""
        return tuple(sorted(self._prompts))


def _files(folder: Traversable, path: str, depth: int) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        name = f"{path}{entry.name}"
        if entry.is_dir():
            if depth < _DEPTH:
                yield from _files(entry, f"{name}/", depth + 1)
        elif entry.name.endswith((".yml", ".jinja")):
            yield name, entry.read_text(encoding="utf-8")


def _prompt(sandbox: Sandbox, path: str, text: str) -> Prompt:
    prompt_id, _, stem = path.removesuffix(".yml").rpartition("/")
    if not prompt_id:
        raise ValueError(f"{path}: a prompt stands in a folder that names it")
    try:
        version = parse(stem)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    file = parse_prompt(text, path)
    return Prompt(
        id=prompt_id,
        version=version,
        name=file.name,
        unit_primitive=file.unit_primitive,
        parts=compile_parts(sandbox, file.prompt_template, path),
        params=file.model.params,
        stop=file.params.stop,
        timeout_s=file.params.timeout,
    )
