"""docs/guide/openshift.md: its manifests are valid, its commands fit them, its pod runs."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy.bundle.image import ROOT
from tests.support.certificates import write_pair
from tests.support.container import running
from tests.support.tokens import pem_of, private_key

PAGE = ROOT / "docs" / "guide" / "openshift.md"
STRANGER = "1000650000:0"
VERSIONS = ("1.29", kubernetes_validate.latest_version())


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def manifests() -> dict[tuple[str, str], Any]:
    found = [one for block in blocks("yaml") for one in yaml.safe_load_all(block)]
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


POD = manifests()["Deployment", "isthmus"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_manifests_are_valid(version: str) -> None:
    for (kind, _), manifest in manifests().items():
        # OpenShift's own kinds are none of Kubernetes'.
        if kind != "Route":
            kubernetes_validate.validate(manifest, version, strict=True)


def test_the_pod_asks_for_nothing_that_is_restricted() -> None:
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert not {"runAsUser", "fsGroup", "hostNetwork"} & {*POD["securityContext"], *POD}
    limits = CONTAINER["securityContext"]
    assert limits["capabilities"] == {"drop": ["ALL"]}
    assert limits["readOnlyRootFilesystem"] is True
    assert limits["allowPrivilegeEscalation"] is False
    assert {next(iter(set(volume) - {"name"})) for volume in POD["volumes"]} == {
        "persistentVolumeClaim",
        "secret",
    }


def test_everything_named_is_there() -> None:
    found = manifests()
    ports = {port["name"] for port in CONTAINER["ports"]}
    served = {port["targetPort"] for port in found["Service", "isthmus"]["spec"]["ports"]}
    routed = {
        found["Route", name]["spec"]["port"]["targetPort"]
        for name in ("isthmus", "isthmus-sessions")
    }
    assert routed <= served <= ports
    mounted = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    assert set(mounted) == {volume["name"] for volume in POD["volumes"]}
    paths = [each["value"] for each in CONTAINER["env"] if each["name"].endswith("_FILE")]
    assert len(paths) == 5
    assert all(Path(path).parent in map(Path, mounted.values()) for path in paths)


def test_the_commands_are_those_of_the_manifests(tmp_path: Path) -> None:
    client = tmp_path / "oc"
    client.write_text('#!/bin/sh\necho "$@" >>"$ASKED"\n', "utf-8")
    client.chmod(0o755)
    asked = tmp_path / "asked"
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ASKED": str(asked)}
    for script in blocks("sh"):
        subprocess.run(
            ["bash", "-euc", script], cwd=tmp_path, env=environment, check=True, capture_output=True
        )
    lines = asked.read_text("utf-8").splitlines()
    (secret,) = (line for line in lines if "secret" in line)
    secrets = {volume["secret"]["secretName"] for volume in POD["volumes"] if "secret" in volume}
    certificate = manifests()["Service", "isthmus"]["metadata"]["annotations"]
    assert secrets == {secret.split()[3], *certificate.values()}
    assert (tmp_path / secret.rpartition("=")[2]).read_text("utf-8").startswith("-----BEGIN")
    assert [line for line in lines if "deployment/isthmus" in line]


def test_the_pod_runs_as_a_user_of_the_projects(tmp_path: Path) -> None:
    """Its own variables, but for the places of files; then what its probes ask."""

    def mount(data: Path) -> None:
        write_pair(data, 1)
        (data / "cert.pem").rename(data / "tls.crt")
        (data / "key.pem").rename(data / "tls.key")
        (data / "jwt.key").write_text(pem_of(private_key()), "utf-8")
        for path in data.iterdir():
            path.chmod(0o644)

    given = {
        each["name"]: re.sub(r"/run/isthmus/\w+/", "/var/lib/isthmus/", each["value"])
        for each in CONTAINER["env"]
    }
    with running(tmp_path, given, user=STRANGER, mount=mount) as container:
        container.wait_for_text("Sessions are ready")
        for name in ("startupProbe", "readinessProbe"):
            asked = CONTAINER[name]["httpGet"]
            ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
            where = f"127.0.0.1:{ports[asked['port']]}{asked['path']}"
            container.wait_for(f"{asked['scheme'].lower()}://{where}")
        assert container.run(*CONTAINER["livenessProbe"]["exec"]["command"]).returncode == 0
        assert container.stop() == 0
