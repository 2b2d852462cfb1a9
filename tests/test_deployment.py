"""The image, the compose file and the chart agree with each other, with the configuration and with the server.

Nothing is built or started in a cluster here. The chart is linted and rendered by Helm's own engine.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import caveau
import pytest
import yaml
from caveau.cli.main import main
from caveau.server.cluster.settings import Settings
from caveau.server.config import ServerConfig, check, load
from caveau.server.process import DRAIN_SECONDS
from caveau.tests.peers import caveau_server_sealed

ROOT = Path(caveau.__file__).parent
DATA, PORT = "/var/lib/caveau", 8200


def config(text: str, tmp_path: Path) -> ServerConfig:
    file = tmp_path / "caveau.hcl"
    file.write_text(text)
    return check(load([str(file)], {}))


# The image


@pytest.fixture(scope="module")
def dockerfile() -> list[tuple[str, str]]:
    """Instructions and their arguments."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text()).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line]


def last(dockerfile: list[tuple[str, str]], name: str) -> str:
    return [argument for instruction, argument in dockerfile if instruction == name][-1]


def test_the_image_runs_as_nobody_in_particular_and_keeps_its_data_in_a_volume(dockerfile):
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last(dockerfile, "USER"))
    assert last(dockerfile, "VOLUME") == DATA
    assert last(dockerfile, "EXPOSE") == str(PORT)
    assert last(dockerfile, "STOPSIGNAL") == "SIGTERM"


def test_both_stages_have_the_same_python_and_a_supported_one(dockerfile):
    bases = {argument.split()[0] for instruction, argument in dockerfile if instruction == "FROM"}
    assert bases == {"python:3.13-slim"}
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert requires == ">=3.11"


def test_the_image_installs_the_pinned_runtime(dockerfile):
    text = " ".join(argument for _, argument in dockerfile)
    assert "--require-hashes -r requirements-runtime.lock" in text


@pytest.mark.parametrize(("status", "healthy"), [(0, True), (2, True), (1, False), (127, False)])
def test_a_sealed_server_is_healthy_and_a_dead_one_is_not(dockerfile, tmp_path, status, healthy):
    command = json.loads(last(dockerfile, "HEALTHCHECK").partition("CMD ")[2])
    fake = tmp_path / "caveau"
    fake.write_text(f'#!/bin/sh\ntest "$*" = status && exit {status}\nexit 1\n')
    fake.chmod(0o755)
    run = subprocess.run(command, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False)
    assert (run.returncode == 0) is healthy


def test_the_build_sees_all_it_needs_and_no_more():
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {name.split(".")[1] for name in project["tool"]["setuptools"]["packages"] if "." in name}
    files = {
        "__init__.py",
        "__main__.py",
        "py.typed",
        "pyproject.toml",
        "requirements-runtime.lock",
        "README.md",
        "LICENSE",
    }
    assert allowed == folders | files


# The compose file


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_the_compose_file_fits_the_image_and_the_configuration(compose, dockerfile, tmp_path):
    service = compose["services"]["caveau"]
    mounts = {volume.split(":")[1]: volume.split(":")[0] for volume in service["volumes"]}
    assert mounts.pop(DATA) in compose["volumes"]
    ((inside, outside),) = mounts.items()
    served = config((ROOT / outside).read_text(), tmp_path)
    folder = json.loads(last(dockerfile, "CMD"))[-1].removeprefix("-config=")
    assert inside == f"{folder}/{Path(outside).name}"
    assert served.storage.type == "sqlite"
    assert served.storage.options["path"].startswith(DATA)
    assert served.listeners[0].address == f"0.0.0.0:{PORT}"


def test_clear_text_stays_on_the_host(compose, tmp_path):
    service = compose["services"]["caveau"]
    assert config((ROOT / "docker" / "caveau.hcl").read_text(), tmp_path).listeners[0].tls_disable
    assert service["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]


def test_the_composed_nodes_find_each_other_and_keep_their_data_apart(compose, tmp_path):
    nodes = {name: service for name, service in compose["services"].items() if name != "caveau"}
    volumes = [service["volumes"][0] for service in nodes.values()]
    assert len(set(volumes)) == len(nodes) == 3
    served = config((ROOT / "docker" / "cluster.hcl").read_text(), tmp_path)
    (target,) = Settings.of(served.storage.options).retry_join
    for name, service in nodes.items():
        assert service["profiles"] == ["cluster"]
        assert target.auto_join in service["networks"]["default"]["aliases"]
        assert service["volumes"] == [f"{name}:{DATA}", "./docker/cluster.hcl:/etc/caveau/caveau.hcl:ro"]
        assert service["environment"]["VAULT_RAFT_NODE_ID"] == name
        assert service["ports"][0].startswith("127.0.0.1:")
        assert service["read_only"] is True


def test_the_composed_service_is_confined_and_may_end_in_peace(compose):
    service = compose["services"]["caveau"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert int(service["stop_grace_period"].removesuffix("s")) > DRAIN_SECONDS


# The chart

CHART = ROOT / "helm" / "caveau"
TLS = {"tls": {"secretName": "caveau-tls"}}
CLEAR = {"tls": {"enabled": False, "allowClearText": True}}
FULL = {
    "tls": {"secretName": "caveau-tls", "caKey": "", "serverName": "caveau.example.net"},
    "apiAddr": "https://caveau.example.net",
    "listenAddress": "[::]:8200",
    "extraConfig": 'log_level = "debug"\nmax_lease_ttl = "48h"\ndefault_lease_ttl = "1h"\n',
    "ingress": {"enabled": True, "host": "caveau.example.net", "className": "nginx", "tlsSecretName": "edge",
                "annotations": {"nginx.ingress.kubernetes.io/backend-protocol": "HTTPS"}},
    "storage": {"size": "1Gi", "className": "fast", "annotations": {"a": "b"}},
    "service": {"annotations": {"c": "d"}, "port": 443},
    "serviceAccount": {"create": False, "name": "mine"},
    "podLabels": {"team": "ops"}, "podAnnotations": {"e": "f"}, "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "k", "operator": "Exists"}], "affinity": {"nodeAffinity": {}},
    "imagePullSecrets": [{"name": "pull"}], "priorityClassName": "high", "resources": {},
}  # fmt: skip
every_values = pytest.mark.parametrize("values", [TLS, CLEAR, FULL], ids=["tls", "clear", "full"])


def helm() -> Any:
    if not (sys.platform == "linux" and __import__("platform").machine() == "x86_64"):
        pytest.skip("Helm's library is there for Linux on x86_64 only")
    import helm_python

    return helm_python


def render(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The chart's objects by kind and name."""
    with helm().Chart.load(str(CHART)) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name="caveau", namespace="secrets")
    objects = [
        each for name, text in files.items() if name.endswith(".yaml") for each in yaml.safe_load_all(text) if each
    ]
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in objects}


@every_values
def test_helm_finds_nothing_to_complain_about(values):
    found = helm().lint(str(CHART), values, strict=True)
    assert found["errors"] in (None, [])
    assert [each for each in found["messages"] or [] if "icon is recommended" not in str(each)] == []


@every_values
def test_the_rendered_configuration_is_valid_and_matches_the_pod(values, tmp_path):
    objects = render(values)
    served = config(objects["ConfigMap/caveau"]["data"]["caveau.hcl"], tmp_path)
    pod = objects["StatefulSet/caveau"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    (listener,) = served.listeners
    assert served.storage.options["path"].startswith(f"{DATA}/")
    assert mounts[DATA] == "data"
    assert container["args"] == ["server", "-config=/etc/caveau"]
    assert mounts["/etc/caveau"] == "config"
    assert listener.address.endswith(f":{PORT}")
    assert container["ports"][0]["containerPort"] == PORT
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert environment["VAULT_ADDR"] == f"{listener.scheme}://127.0.0.1:{PORT}"
    for file in filter(None, (listener.tls_cert_file, listener.tls_key_file, environment.get("VAULT_CACERT"))):
        assert mounts[str(Path(file).parent)] == "tls"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["scheme"] == listener.scheme.upper()
    declared = {volume["name"] for volume in pod["volumes"]} | {
        claim["metadata"]["name"] for claim in objects["StatefulSet/caveau"]["spec"]["volumeClaimTemplates"]
    }
    assert set(mounts.values()) == declared


@every_values
def test_the_pod_has_no_privileges_and_one_replica(values, dockerfile):
    spec = render(values)["StatefulSet/caveau"]["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    user = int(last(dockerfile, "USER").partition(":")[0])
    assert spec["replicas"] == 1
    assert spec["updateStrategy"] == {"type": "OnDelete"}  # a new pod is sealed
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["fsGroup"]) == (user, user)
    assert pod["automountServiceAccountToken"] is False
    assert pod["terminationGracePeriodSeconds"] > DRAIN_SECONDS
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}


@every_values
def test_names_and_labels_meet(values):
    objects = render(values)
    workload = objects["StatefulSet/caveau"]["spec"]
    labels = workload["template"]["metadata"]["labels"]
    assert workload["selector"]["matchLabels"].items() <= labels.items()
    assert f"Service/{workload['serviceName']}" in objects
    ports = {port["name"] for port in workload["template"]["spec"]["containers"][0]["ports"]}
    for name in ("Service/caveau", "Service/caveau-internal"):
        assert objects[name]["spec"]["selector"].items() <= labels.items()
        assert objects[name]["spec"]["ports"][0]["targetPort"] in ports
    account = workload["template"]["spec"]["serviceAccountName"]
    assert (f"ServiceAccount/{account}" in objects) is values.get("serviceAccount", {}).get("create", True)
    if ingress := objects.get("Ingress/caveau"):
        backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
        assert backend["name"] == "caveau"
        assert backend["port"]["name"] in {port["name"] for port in objects["Service/caveau"]["spec"]["ports"]}
    assert ("Ingress/caveau" in objects) is ("ingress" in values)


@pytest.mark.parametrize("values", [
    {},  # TLS without a certificate
    {"tls": {"enabled": False}},  # clear text by accident
    TLS | {"replicas": 3},
    TLS | {"ingress": {"enabled": True}},
    TLS | {"service": {"port": "x"}},
    TLS | {"listenAddress": "0.0.0.0:80"},
])  # fmt: skip
def test_values_that_would_not_work_are_refused(values):
    with pytest.raises(helm().HelmError):
        render(values)


@pytest.mark.peer
def test_probes_leave_a_sealed_pod_alone_and_send_it_no_requests():
    (container,) = render(CLEAR)["StatefulSet/caveau"]["spec"]["template"]["spec"]["containers"]

    def status(probe: str) -> int:
        url = server.address + container[probe]["httpGet"]["path"]
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    with caveau_server_sealed() as server:
        assert (status("startupProbe"), status("livenessProbe"), status("readinessProbe")) == (204, 204, 501)
        key, token = initialize(server.address)
        assert (status("livenessProbe"), status("readinessProbe")) == (204, 503)
        call(server.address, "unseal", {"key": key}, token)
        assert (status("livenessProbe"), status("readinessProbe")) == (200, 200)


def call(address: str, path: str, body: dict[str, Any], token: str = "") -> dict[str, Any]:
    request = urllib.request.Request(f"{address}/v1/sys/{path}", json.dumps(body).encode(), {"X-Vault-Token": token},
                                     method="PUT")  # fmt: skip
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def initialize(address: str) -> tuple[str, str]:
    made = call(address, "init", {"secret_shares": 1, "secret_threshold": 1})
    return made["keys_base64"][0], made["root_token"]


def test_the_chart_is_of_this_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == caveau.__version__


def test_every_default_value_is_in_the_schema():
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    assert set(yaml.safe_load((CHART / "values.yaml").read_text())) <= set(schema)


def test_commands_in_the_notes_exist(capsys):
    with helm().Chart.load(str(CHART)) as chart:
        notes = next(text for name, text in chart.render(TLS, name="caveau", namespace="secrets").items()
                     if name.endswith("NOTES.txt"))  # fmt: skip
    commands = re.findall(r"-- caveau ([a-z -]+)$", notes, re.M)
    assert commands == ["operator init", "operator unseal"]
    assert [main([*command.split(), "-h"]) for command in commands] == [0, 0]
