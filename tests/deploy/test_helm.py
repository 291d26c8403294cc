"""The chart, by Helm's own engine: valid, safe, what the server takes; and `docs/guide/helm.md`."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import helm_python
import kubernetes_validate
import pytest
import yaml

from isthmus.settings import load
from tests.support.guide import ROOT, blocks
from tests.support.helm import (
    ALL,
    CHART,
    DATABASE,
    Manifest,
    Values,
    container,
    merged,
    of,
    pods,
    rendered,
    variables,
)

OLDEST = 29
NEWEST = int(kubernetes_validate.latest_version().split(".")[1])
SETS: dict[str, Values] = {
    "nothing": {},
    "database": DATABASE,
    "everything": ALL,
    **{
        size: merged(
            yaml.safe_load((CHART / f"values-{size}.yaml").read_text(encoding="utf-8")),
            {} if size == "small" else {**DATABASE, "valkey": {"existingSecret": "valkey"}},
        )
        for size in ("small", "medium", "large")
    },
}
# The operator's own kinds have no schema here: what they must hold is in the test below.
THEIRS = {"ServiceMonitor", "PrometheusRule"}


@pytest.mark.parametrize(
    ("name", "minor"),
    [
        *(("everything", minor) for minor in range(OLDEST, NEWEST + 1)),
        *((name, minor) for name in SETS for minor in (OLDEST, NEWEST) if name != "everything"),
    ],
)
def test_every_manifest_is_valid(name: str, minor: int) -> None:
    manifests = rendered(SETS[name])
    for manifest in manifests:
        if manifest["kind"] not in THEIRS:
            kubernetes_validate.validate(manifest, f"1.{minor}", strict=True)


def test_the_engine_has_nothing_to_say() -> None:
    found = helm_python.lint(CHART, dict(ALL), strict=True, namespace="ai")
    assert not found["errors"]
    # Of an icon, which a chart that nobody sells needs not.
    assert [one for one in found["messages"] if one["severity"] > 1] == []


@pytest.mark.parametrize("name", SETS)
def test_every_pod_is_restricted_and_bounded(name: str) -> None:
    for pod, spec in pods(rendered(SETS[name])):
        security = spec["securityContext"]
        assert security["runAsNonRoot"], pod
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, pod
        assert "runAsUser" not in security, "a cluster that assigns users could not"
        assert not spec["enableServiceLinks"], pod
        for one in spec["containers"]:
            own = one["securityContext"]
            assert own["readOnlyRootFilesystem"], pod
            assert not own["allowPrivilegeEscalation"], pod
            assert own["capabilities"] == {"drop": ["ALL"]}, pod
            assert {"cpu", "memory"} <= set(one["resources"]["requests"]), pod
            assert "memory" in one["resources"]["limits"], pod
            assert one["image"].rpartition(":")[2] not in {"latest", ""}, pod
            mounts = {mount["mountPath"] for mount in one["volumeMounts"]}
            assert {"/var/lib/isthmus", "/tmp"} <= mounts, pod  # noqa: S108 - a mount, not a file


@pytest.mark.parametrize("name", SETS)
def test_every_server_is_probed_spread_and_drained(name: str) -> None:
    manifests = rendered(SETS[name])
    for deployment, manifest in of(manifests, "Deployment").items():
        spec = manifest["spec"]["template"]["spec"]
        one = container(manifests, deployment)
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(one), deployment
        assert {each["topologyKey"] for each in spec["topologySpreadConstraints"]} == {
            "kubernetes.io/hostname",
            "topology.kubernetes.io/zone",
        }
        told = variables(one)
        drain_s = int(told["ISTHMUS_DRAIN__NOTICE_S"]) + int(told["ISTHMUS_DRAIN__DEADLINE_S"])
        pause_s = int(one["lifecycle"]["preStop"]["exec"]["command"][1])
        assert spec["terminationGracePeriodSeconds"] > drain_s + pause_s, deployment
        wanted = manifest["spec"]["selector"]["matchLabels"].items()
        assert wanted <= manifest["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("name", SETS)
def test_the_server_takes_what_the_chart_gives_it(name: str, tmp_path: Path) -> None:
    manifests = rendered(SETS[name])
    for deployment in of(manifests, "Deployment"):
        told = variables(container(manifests, deployment))
        settings = load(environ=_placed(told, manifests, tmp_path))
        assert ",".join(settings.transports) == told["ISTHMUS_TRANSPORTS"]
        split = "-gateway" in deployment
        assert bool(settings.platform.url) == split


def _placed(told: dict[str, str], manifests: list[Manifest], folder: Path) -> dict[str, str]:
    """The variables with the files that they name, each of them there."""
    placed: dict[str, str] = {}
    for name, value in told.items():
        if value.startswith("/etc/isthmus/"):
            path = folder / value.removeprefix("/etc/isthmus/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("postgresql://u@db/isthmus" if "DATABASE" in name else "text")
            if name == "ISTHMUS_CONFIG":
                path.write_text(of(manifests, "ConfigMap")["isthmus"]["data"]["isthmus.yml"])
            if "LIMITS__URL" in name:
                path.write_text("redis://valkey:6379/0")
            placed[name] = str(path)
        else:
            placed[name] = value
    return placed


def test_both_listeners_are_one_deployment_or_two() -> None:
    assert set(of(rendered(), "Deployment")) == {"isthmus"}
    split = rendered({**DATABASE, "mode": "split"})
    assert set(of(split, "Deployment")) == {"isthmus-gateway", "isthmus-platform"}
    gateway = variables(container(split, "isthmus-gateway"))
    port = of(split, "Service")["isthmus-platform"]["spec"]["ports"][0]
    assert gateway["ISTHMUS_PLATFORM__URL"] == f"isthmus-platform:{port['port']}"
    probe = container(split, "isthmus-platform")["readinessProbe"]
    assert probe["grpc"] == {"port": 50052}


def test_sqlite_is_one_replica_on_a_volume_and_postgresql_needs_none() -> None:
    alone = rendered()
    assert of(alone, "Deployment")["isthmus"]["spec"]["strategy"] == {"type": "Recreate"}
    assert set(of(alone, "PersistentVolumeClaim")) == {"isthmus-data"}
    assert not of(alone, "Job")
    shared = rendered(DATABASE)
    assert not of(shared, "PersistentVolumeClaim")
    jobs = of(shared, "Job")
    hooks = {name: job["metadata"]["annotations"]["helm.sh/hook"] for name, job in jobs.items()}
    assert hooks == {
        "isthmus-migrate-pre": "pre-install,pre-upgrade",
        "isthmus-migrate-post": "post-install,post-upgrade",
    }
    told = [job["spec"]["template"]["spec"]["containers"][0]["args"] for job in jobs.values()]
    assert sorted(told) == [["db", "migrate", "--phase", phase] for phase in ("post", "pre")]
    assert variables(container(shared))["ISTHMUS_DATABASE__MIGRATE"] == "false"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"mode": "split"}, "database.existingSecret"),
        ({"gateway": {"replicas": 2}}, "database.existingSecret"),
        ({"gateway": {"autoscaling": {"enabled": True}}}, "database.existingSecret"),
        ({"mode": "both"}, "/mode"),
        ({"gateway": {"replica": 2}}, "replica"),
        ({"image": {"tag": "latest"}}, "/image/tag"),
        ({"image": {"digest": "sha256:abc"}}, "/image/digest"),
        ({"gitlab": {"url": "gitlab.example.com"}}, "/gitlab/url"),
        ({"extraEnvironmentVariables": [{"value": "x"}]}, "name"),
        ({"ingress": {"hosts": [{"paths": [{"path": "/"}]}]}}, "host"),
        ({"drain": {"deadlineSeconds": "long"}}, "/drain/deadlineSeconds"),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(values: Values, said: str) -> None:
    with pytest.raises(helm_python.HelmError, match=said):
        rendered(values)


def test_a_key_that_the_chart_makes_signs_for_both_listeners() -> None:
    [secret] = of(rendered(), "Secret").values()
    assert secret["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert set(secret["data"]) == {"signing-key"}
    given = rendered({"signingKey": {"existingSecret": "mine", "key": "pem"}})
    assert not of(given, "Secret")
    [volume] = [each for each in next(pods(given))[1]["volumes"] if each["name"] == "secrets"]
    assert volume["projected"]["sources"] == [
        {
            "secret": {
                "name": "mine",
                "items": [{"key": "pem", "path": "DUO_WORKFLOW_SELF_SIGNED_JWT__SIGNING_KEY"}],
            }
        }
    ]


def test_no_secret_stands_in_a_variable() -> None:
    manifests = rendered(ALL)
    for deployment in of(manifests, "Deployment"):
        told = variables(container(manifests, deployment))
        files = {name for name in told if name.endswith("_FILE") and "secrets" in told[name]}
        assert files == {
            "ANTHROPIC_API_KEY_FILE",
            "DUO_WORKFLOW_SELF_SIGNED_JWT__SIGNING_KEY_FILE",
            "ISTHMUS_DATABASE__URL_FILE",
            "ISTHMUS_LIMITS__URL_FILE",
        }


def test_only_runners_may_ask_the_cluster_and_only_for_jobs() -> None:
    assert variables(container(rendered()))["ISTHMUS_RUNNERS__KIND"] == "none"
    assert not next(pods(rendered()))[1]["automountServiceAccountToken"]
    manifests = rendered({"runners": {"enabled": True}})
    assert variables(container(manifests))["ISTHMUS_RUNNERS__KIND"] == "kubernetes"
    [role] = of(manifests, "Role").values()
    assert role["metadata"]["namespace"] == "isthmus-jobs"
    assert {r for rule in role["rules"] for r in rule["resources"]} == {"secrets", "jobs"}
    [bound] = of(manifests, "RoleBinding").values()
    assert bound["subjects"][0]["namespace"] == "ai"


def test_what_leaves_is_what_the_policy_names() -> None:
    policies = of(rendered(ALL), "NetworkPolicy")
    assert set(policies) == {"isthmus-gateway", "isthmus-platform"}
    for name, policy in policies.items():
        spec = policy["spec"]
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        peers = [rule.get("to") for rule in spec["egress"]]
        named = [[{"ipBlock": {"cidr": "203.0.113.7/32"}}]]
        dns = [None]
        others = [peer for peer in peers if peer not in (*named, *dns)]
        assert len(others) == (name == "isthmus-gateway"), "the gateway reaches the platform"


def test_monitors_and_rules_are_those_of_the_repository() -> None:
    manifests = rendered(ALL)
    [monitor] = of(manifests, "ServiceMonitor").values()
    ports = {port["name"] for s in of(manifests, "Service").values() for port in s["spec"]["ports"]}
    assert {each["port"] for each in monitor["spec"]["endpoints"]} <= ports
    [rule] = of(manifests, "PrometheusRule").values()
    files = sorted((CHART.parents[1] / "monitoring" / "rules").glob("*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    assert len(files) >= 5
    assert json.dumps(rule["spec"]["groups"], sort_keys=True) == json.dumps(groups, sort_keys=True)


def test_pods_are_scaled_by_what_the_adapter_tells() -> None:
    file = CHART.parent / "prometheus-adapter.yml"
    rules = yaml.safe_load(file.read_text(encoding="utf-8"))["rules"]["custom"]
    made = {rule["name"]["as"] for rule in rules}
    scalers = of(rendered(ALL), "HorizontalPodAutoscaler")
    asked: set[str] = set()
    for scaler in scalers.values():
        cpu, pods_ = scaler["spec"]["metrics"]
        assert cpu["resource"]["target"]["averageUtilization"] == 50
        assert pods_["pods"]["target"]["averageValue"] == "500"
        asked.add(pods_["pods"]["metric"]["name"])
    assert asked == made


def leaves(values: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every value of values.yaml, by its path; an empty map or list is one."""
    if isinstance(values, dict) and values:
        held = cast("dict[str, Any]", values)
        return [leaf for name, one in held.items() for leaf in leaves(one, (*path, name))]
    return [path]


# What a value is changed to, where its kind does not say.
CHANGES: dict[str, Any] = {
    "mode": "split",
    "image.digest": "sha256:" + "0" * 64,
    "image.pullPolicy": "Always",
    "imagePullSecrets": [{"name": "other"}],
    "gitlab.url": "https://other.example.com",
    "gitlab.apiUrl": "https://other.example.com/api/v4/",
    "config": {"environment": "test"},
    "extraEnvironmentVariables": [{"name": "OTHER", "value": "1"}],
    "secrets": [{"variable": "OTHER", "secretName": "s", "key": "k"}],
    "persistence.size": "11Gi",
    "service.type": "LoadBalancer",
    "serviceMonitor.interval": "30s",
    "ingress.hosts": [{"host": "other.example.com"}],
    "ingress.grpc.hosts": [{"host": "other.example.com"}],
    "ingress.tls": [{"secretName": "other"}],
    "ingress.grpc.tls": [{"secretName": "other"}],
    "volumes": [{"name": "other", "emptyDir": {}}],
    "volumeMounts": [{"name": "other", "mountPath": "/other"}],
    "networkPolicy.from": [{"podSelector": {}}],
    "networkPolicy.metricsFrom": [{"podSelector": {}}],
    "networkPolicy.egress": [],
}
# Values that matter beside others than ALL.
BESIDE: list[tuple[Callable[[str], bool], Values]] = [
    (lambda name: name.startswith("persistence."), {}),
    (lambda name: name == "signingKey.key", {}),
    (lambda name: name.endswith(".replicas"), {**DATABASE, "mode": "split"}),
    (lambda name: name == "mode", DATABASE),
    (lambda name: name == "image.tag", merged(ALL, {"image": {"tag": ""}})),
    (lambda name: name == "fullnameOverride", DATABASE),
    (lambda name: name == "serviceAccount.create", DATABASE),
]


def changed(path: tuple[str, ...], old: Any) -> Any:
    """Another value of the same kind."""
    name = ".".join(path)
    if name in CHANGES:
        return CHANGES[name]
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return old + 1
    if isinstance(old, str):
        return f"{old}other"
    if isinstance(old, list):
        return [{"key": "other"}]
    return {"limits": {"memory": "9Gi"}} if name.endswith("resources") else {"other": "1"}


VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", leaves(VALUES), ids=".".join)
def test_every_value_changes_what_is_made(path: tuple[str, ...]) -> None:
    name = ".".join(path)
    base = next((values for fits, values in BESIDE if fits(name)), ALL)
    in_force: Any = merged(VALUES, base)
    for part in path:
        in_force = in_force[part]
    change: Any = changed(path, in_force)
    for part in reversed(path):
        change = {part: change}
    assert rendered(merged(base, change)) != rendered(base)


def given(command: str) -> Values:
    """The values of a `helm upgrade` line, files and all."""
    words = iter(shlex.split(command))
    values: Values = {}
    for word in words:
        if word == "--values":
            values = merged(values, yaml.safe_load((ROOT / next(words)).read_text("utf-8")))
        elif word == "--set":
            values = _with(values, helm_python.parse_set_string(next(words)))
    return values


def _with(old: Any, new: Any) -> Any:
    """As `merged`, but lists grow by what stands at a further place, or inside of one."""
    if isinstance(old, list) and isinstance(new, list):
        before, after = cast("list[Any]", old), cast("list[Any]", new)
        return [
            _with(before[at] if at < len(before) else None, one) if one is not None else before[at]
            for at, one in enumerate(after)
        ]
    if isinstance(old, dict) and isinstance(new, dict):
        held, more = cast("dict[str, Any]", old), cast("dict[str, Any]", new)
        return {**held, **{name: _with(held.get(name), one) for name, one in more.items()}}
    return new


@pytest.mark.parametrize("command", blocks("helm", "sh", "Install")[:1])
def test_the_guides_line_installs(command: str) -> None:
    manifests = rendered(given(command), namespace="ai-gateway")
    told = variables(container(manifests))
    assert told["AIGW_GITLAB_URL"] == "https://gitlab.example.com"
    assert told["AIGW_LOGGING__LEVEL"] == "INFO"
    assert container(manifests)["image"] == "registry.example.com/isthmus:0.1.0"
    [ingress] = of(manifests, "Ingress").values()
    assert ingress["spec"]["rules"][0]["host"] == "ai-gateway.example.com"


def test_the_guides_other_line_and_values_are_taken() -> None:
    [command] = blocks("helm", "sh", "More than one pod")
    assert len(of(rendered(given(command)), "Deployment")) == 2
    for text in blocks("helm", "yaml"):
        rendered(yaml.safe_load(text))
