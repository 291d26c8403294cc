"""An image as one file that `docker load`, `podman load` and `ctr image import` read.

Source: OCI image format specification 1.1 (layout, manifest, configuration); `manifest.json` is
what Docker before 25 looks for.
"""

import hashlib
import json
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.bundle.tree import gathered, sha256

_KIND = "application/vnd.oci.image"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Layer:
    """A packed tar file, and the SHA-256 of the unpacked one."""

    path: Path
    unpacked_sha256: str


def write(layer: Layer, config: dict[str, Any], name: str, out: Path, when: int) -> None:
    """Write the image `name` (such as `isthmus:1.0`), which has one layer."""
    created = datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = sha256(layer.path)
    image = _json(
        {
            "created": created,
            "architecture": _MACHINES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.unpacked_sha256}"]},
            "history": [{"created": created, "comment": "isthmus"}],
        }
    )
    layers = [_described(f"{_KIND}.layer.v1.tar+gzip", digest, layer.path.stat().st_size)]
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_KIND}.manifest.v1+json",
            "config": _of(f"{_KIND}.config.v1+json", image),
            "layers": layers,
        }
    )
    tag = name.partition(":")[2]
    names = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag}
    entry = _of(f"{_KIND}.manifest.v1+json", manifest) | {"annotations": names}
    old = [{"Config": _blob(image), "RepoTags": [name], "Layers": [f"blobs/sha256/{digest}"]}]
    files: dict[str, bytes | Path] = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json({"schemaVersion": 2, "manifests": [entry]}),
        "manifest.json": _json(old),
        _blob(image): image,
        _blob(manifest): manifest,
        f"blobs/sha256/{digest}": layer.path,
    }
    gathered(files, out, when)


def _described(kind: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": size}


def _of(kind: str, content: bytes) -> dict[str, Any]:
    return _described(kind, hashlib.sha256(content).hexdigest(), len(content))


def _blob(content: bytes) -> str:
    return f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()
