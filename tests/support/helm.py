"""The chart in `deploy/helm`, rendered by Helm's own engine; what it made, to be looked at."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, cast

import helm_python
import yaml

CHART = Path(__file__).resolve().parents[2] / "deploy" / "helm" / "isthmus"
Values: TypeAlias = Mapping[str, Any]
Manifest: TypeAlias = dict[str, Any]
ALL: Values = {
    "mode": "split",
    "image": {"repository": "registry.example.com/isthmus", "tag": "1.2.3"},
    "imagePullSecrets": [{"name": "pull"}],
    "gitlab": {"url": "https://gitlab.example.com", "apiUrl": "https://gitlab.example.com/api/v4/"},
    "config": {"gateway": {"suggestions_per_minute": 60}},
    "extraEnvironmentVariables": [{"name": "AIGW_LOGGING__LEVEL", "value": "DEBUG"}],
    "secrets": [{"variable": "ANTHROPIC_API_KEY", "secretName": "models", "key": "anthropic"}],
    "signingKey": {"existingSecret": "keys"},
    "database": {"existingSecret": "database"},
    "valkey": {"existingSecret": "valkey"},
    "tls": {"secretName": "certificate"},
    "certificateAuthority": {"configMap": "authority"},
    "gateway": {"replicas": 2, "autoscaling": {"enabled": True, "latencyMs": 500}},
    "platform": {"replicas": 2, "autoscaling": {"enabled": True, "latencyMs": 500}},
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "hosts": [{"host": "ai.example.com"}],
        "tls": [{"secretName": "public", "hosts": ["ai.example.com"]}],
        "grpc": {"enabled": True, "hosts": [{"host": "grpc.example.com"}]},
    },
    "networkPolicy": {
        "enabled": True,
        "egress": [{"to": [{"ipBlock": {"cidr": "203.0.113.7/32"}}], "ports": [443]}],
    },
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "runners": {"enabled": True},
}
"""Everything that the chart can make, but for the volume of SQLite."""
DATABASE: Values = {"database": {"existingSecret": "database"}}


def rendered(values: Values | None = None, namespace: str = "ai") -> list[Manifest]:
    """The manifests of a first install named `isthmus`. Raises helm_python's errors."""
    return json.loads(_rendered(json.dumps(values or {}), namespace))


@cache
def _rendered(values: str, namespace: str) -> str:
    given = json.loads(values)
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(given)
        texts = chart.render(given, name="isthmus", namespace=namespace)
    made = [text for path, text in sorted(texts.items()) if path.endswith(".yaml")]
    found = (one for text in made for one in yaml.load_all(text, yaml.CSafeLoader) if one)
    return json.dumps(list(found))


def of(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    """Those of a kind, by name."""
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind}


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """The pod of each deployment and job, as kind and name, and its spec."""
    for one in manifests:
        if one["kind"] in {"Deployment", "Job"}:
            name = f"{one['kind']} {one['metadata']['name']}"
            yield name, one["spec"]["template"]["spec"]


def container(manifests: list[Manifest], deployment: str = "isthmus") -> Manifest:
    """The container of a deployment."""
    spec = of(manifests, "Deployment")[deployment]["spec"]["template"]["spec"]
    [only] = spec["containers"]
    return only


def variables(one: Manifest) -> dict[str, str]:
    """The variables of a container, but for those from elsewhere."""
    return {each["name"]: each["value"] for each in one["env"] if "value" in each}


def merged(base: Any, change: Any) -> Any:
    """Values, changed as Helm would: maps are merged, everything else is replaced."""
    if not (isinstance(base, Mapping) and isinstance(change, Mapping)):
        return change
    old, new = cast("Values", base), cast("Values", change)
    return {**old, **{name: merged(old.get(name), value) for name, value in new.items()}}
