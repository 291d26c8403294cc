"""Keeps the site's table of contents true: no entry without a page, no guide without an entry."""

from pathlib import Path
from typing import Any, TypeAlias

Nav: TypeAlias = list[Any]
MORE = "More"


def on_config(config: Any) -> Any:
    """mkdocs calls this when it has read `mkdocs.yml`."""
    docs = Path(config["docs_dir"])
    nav = _existing(config["nav"], docs)
    known = set(_pages(nav))
    guides = sorted(f"guide/{path.name}" for path in (docs / "guide").glob("*.md"))
    missing = [page for page in guides if page not in known]
    config["nav"] = [*nav, {MORE: missing}] if missing else nav
    return config


def _existing(nav: Nav, docs: Path) -> Nav:
    left: Nav = []
    for item in nav:
        if isinstance(item, str):
            left += [item] if (docs / item).is_file() else []
        else:
            sections = {title: _existing(pages, docs) for title, pages in item.items()}
            left += [{title: pages} for title, pages in sections.items() if pages]
    return left


def _pages(nav: Nav) -> list[str]:
    found: list[str] = []
    for item in nav:
        found += [item] if isinstance(item, str) else _pages([p for s in item.values() for p in s])
    return found
