"""Scans a package once and collects the one name that each of its modules declares."""

import importlib
import pkgutil
from types import ModuleType


def discover(package: ModuleType, name: str) -> dict[str, object]:
    """Module name -> the value of `name` in it, for every module of `package`, sorted.

    Modules and packages whose names begin with `_` are skipped. Raises ImportError when a module
    does not declare `name`: a forgotten declaration fails at start, not at the first request.
    """
    found: dict[str, object] = {}
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        if info.name.startswith("_") or info.ispkg:
            continue
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        if not hasattr(module, name):
            raise ImportError(f"{module.__name__} must declare {name}")
        found[info.name] = getattr(module, name)
    return found
