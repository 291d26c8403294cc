"""What the last stage of deploy/docker/Dockerfile says about the image beside its files."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
_UNIT_NS = {"s": 1_000_000_000, "m": 60_000_000_000}
_PERIODS = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod"}


def image_config(dockerfile: Path, arguments: dict[str, str]) -> dict[str, Any]:
    """The `config` of an OCI image. `arguments` are the values of the stage's ARGs.

    Only the instructions that the file uses are understood; any other is a ValueError.
    """
    config: dict[str, Any] = {}
    values: dict[str, str] = {}
    for name, text in _last_stage(dockerfile.read_text(encoding="utf-8")):
        if name == "ARG":
            key, _, default = text.partition("=")
            values[key] = arguments.get(key, default)
        elif name in _READERS:
            key, read = _READERS[name]
            config[key] = read(_VARIABLE.sub(lambda found: values.get(found[1], ""), text))
        elif name not in {"FROM", "COPY"}:
            raise ValueError(f"{dockerfile}: {name} is not understood")
    return config


def _last_stage(text: str) -> Iterator[tuple[str, str]]:
    """Its instructions, and what they are given."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ").splitlines()
    begin = max(index for index, line in enumerate(whole) if line.startswith("FROM "))
    for line in whole[begin:]:
        name, _, rest = line.partition(" ")
        yield name, rest.strip()


def _labels(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in shlex.split(text))
    return {name: value for name, _, value in pairs}


def _ports(text: str) -> dict[str, dict[str, str]]:
    return {f"{port}/tcp": {} for port in text.split()}


def _volumes(text: str) -> dict[str, dict[str, str]]:
    return {path: {} for path in json.loads(text)}


def _health_check(text: str) -> dict[str, Any]:
    options, _, command = text.partition("CMD ")
    given: list[tuple[str, str]] = re.findall(r"--([a-z-]+)=(\d+[sm])", options)
    periods = {_PERIODS[name]: int(value[:-1]) * _UNIT_NS[value[-1]] for name, value in given}
    return {"Test": ["CMD", *json.loads(command)], **periods}


_READERS: dict[str, tuple[str, Callable[[str], object]]] = {
    "LABEL": ("Labels", _labels),
    "ENV": ("Env", shlex.split),
    "EXPOSE": ("ExposedPorts", _ports),
    "VOLUME": ("Volumes", _volumes),
    "HEALTHCHECK": ("Healthcheck", _health_check),
    "ENTRYPOINT": ("Entrypoint", json.loads),
    "CMD": ("Cmd", json.loads),
    "USER": ("User", str),
    "WORKDIR": ("WorkingDir", str),
    "STOPSIGNAL": ("StopSignal", str),
}
