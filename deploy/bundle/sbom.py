"""What an image's root file system is made of, as a CycloneDX document.

Debian's packages from what the build noted of each, Python's from their metadata. The same file
system gives the same document. Source: CycloneDX 1.6, JSON; package URL specification.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

PYTHON_PACKAGES = "usr/local/lib/python3.11/dist-packages"
DEBIAN_PACKAGES = "var/lib/dpkg/status.d"


def document(root: Path, version: str, when: int) -> str:
    """The document for the root file system in `root`, as JSON."""
    parts = [*_debian(root / DEBIAN_PACKAGES), *_python(root / PYTHON_PACKAGES)]
    subject = {"type": "container", "bom-ref": "image", "name": "isthmus", "version": version}
    known = sorted(str(part["bom-ref"]) for part in parts)
    serial = uuid5(NAMESPACE_URL, f"isthmus {version} {when} {known}")
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": subject | {"licenses": [{"license": {"id": "MIT"}}]},
        },
        "components": parts,
        "dependencies": [{"ref": "image", "dependsOn": known}, *({"ref": ref} for ref in known)],
    }
    return json.dumps(document, indent=2) + "\n"


def _debian(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.iterdir()):
        about = _headers(path)
        name, version = str(about["Package"]), str(about["Version"])
        where = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={about['Architecture']}"
        yield _component(where, name, version, str(about["Description"]).partition("\n")[0])


def _python(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.dist-info/METADATA")):
        about = _headers(path)
        name, version = str(about["Name"]), str(about["Version"])
        where = f"pkg:pypi/{name.lower().replace('_', '-')}@{quote(version)}"
        component = _component(where, name, version, str(about.get("Summary", "")))
        yield component | {"licenses": _licences(about)}


def _component(where: str, name: str, version: str, summary: str) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": where,
        "name": name,
        "version": version,
        "description": summary,
        "purl": where,
    }


def _licences(about: "Message[str, str]") -> list[dict[str, Any]]:
    """An expression or a name, as it says itself; of a whole text, its heading."""
    expression = about.get("License-Expression")
    if expression:
        return [{"expression": expression}]
    said = [kind for kind in about.get_all("Classifier", []) if kind.startswith("License ::")]
    names = [about.get("License", ""), *(kind.rpartition(" :: ")[2] for kind in said)]
    headings = [name.strip().partition("\n")[0].strip() for name in names if name.strip()]
    return [{"license": {"name": heading}} for heading in headings[:1]]


def _headers(path: Path) -> "Message[str, str]":
    return HeaderParser().parsestr(path.read_text(encoding="utf-8"))
