"""What the package brings as data; of its YAML, a tenth of every start, JSON is kept."""

import os
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import msgspec

import isthmus
from isthmus.core.notation import as_json

LIBRARY = Path(isthmus.__file__).parent / "library"
"""Models, prompts, flows and languages, as data."""
FILE_NAME = "library.json"
_READ = ("models.yml", "languages.yml", "prompts/**/*.yml", "prompts/**/*.jinja")


def read_library(data_dir: Path) -> dict[str, str]:
    """Texts of models, languages and prompts by path; JSON stands for YAML where it may. Blocking.

    JSON is kept in `data_dir`, if it can be, and counts only for the very same texts.
    """
    paths = sorted({path for pattern in _READ for path in LIBRARY.glob(pattern)})
    texts = {path.relative_to(LIBRARY).as_posix(): path.read_text("utf-8") for path in paths}
    digest = blake2b(msgspec.json.encode(texts)).hexdigest()
    kept, aside = data_dir / FILE_NAME, data_dir / f".{FILE_NAME}.{os.getpid()}"
    with suppress(OSError, msgspec.DecodeError):
        of, known = msgspec.json.decode(kept.read_bytes(), type=tuple[str, dict[str, str]])
        if of == digest:
            return known
    made = {p: as_json(text) if p.endswith(".yml") else text for p, text in texts.items()}
    with suppress(OSError):
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside.touch(mode=0o600)
        aside.write_bytes(msgspec.json.encode((digest, made)))
        aside.replace(kept)
    return made
