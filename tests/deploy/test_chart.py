"""The Helm chart and the Kustomize base: they say the same as `propeller install`, and a real API server takes them."""

from __future__ import annotations

import copy
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from propeller.cli._settings import load
from propeller.config import OperatorName, Settings
from propeller.handlers.plugins import Plugins
from propeller.handlers.plugins.operators import OPERATORS
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, connect
from propeller.manifests import LOADER_IMAGE, execution_cluster, manifests, parts_of, rules_of, workload
from propeller.resourcemgr import check_options
from propeller.testing import KubeApiserver, run_kube_apiserver
from tests import assets
from tests.deploy.helm import CHART, EXAMPLES, MINIMAL, ROOT, Raw, Refused, helm, of_kind, only, render
from tests.examples import examples

pytestmark = pytest.mark.needs("helm")

BASE = ROOT / "deploy" / "kustomize" / "base"
HELMS_OWN = ("app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart", "helm.sh/resource-policy")
INSTANCE = ("app.kubernetes.io/name", "app.kubernetes.io/instance")


def plain(documents: list[Raw]) -> dict[tuple[str, str], Raw]:
    """Objects by kind and name, without what says who made them."""
    found = {}
    for document in copy.deepcopy(documents):
        if document["kind"] == "Namespace":
            continue  # Helm makes it (--create-namespace), Kustomize does not
        metadata = document["metadata"]
        for marks in ("labels", "annotations"):
            kept = {key: value for key, value in metadata.pop(marks, {}).items() if key not in (*HELMS_OWN, *INSTANCE)}
            if kept:
                metadata[marks] = kept
        if document["kind"] == "ConfigMap":
            document["data"] = {key: yaml.safe_load(text) for key, text in document["data"].items()}
        if document["kind"] == "Deployment":
            document["spec"]["template"]["metadata"].pop("annotations", None)
        found[document["kind"], metadata["name"]] = document
    return found


def test_the_chart_renders_by_default_what_install_prints() -> None:
    text = yaml.safe_dump(yaml.safe_load(MINIMAL.read_text())["config"])
    printed = [*manifests("flyte", plugins=Plugins()), *workload("flyte", "propeller:0.1.0", text)]
    assert plain(render(MINIMAL)) == plain(printed)


def test_the_chart_renders_for_one_namespace_what_install_prints_for_it() -> None:
    text = yaml.safe_dump(yaml.safe_load(MINIMAL.read_text())["config"])
    printed = [*manifests("team-a", "team-a", Plugins()), *workload("team-a", "propeller:0.1.0", text, only="team-a")]
    chart = render(MINIMAL, namespace="team-a", watchNamespace="team-a", crds={"fairQueues": False})
    assert plain(chart) == plain(printed)


def test_in_a_cluster_that_only_runs_tasks_chart_and_install_agree() -> None:
    assert plain(render(mode="execution")) == plain(execution_cluster("flyte", Plugins()))


def test_with_a_routing_table_chart_and_install_grant_the_same() -> None:
    config = {"routing": {"table": "default"}}
    chart = plain(render(MINIMAL, config=config, crds={"routingTables": True}, secrets={"clusters": ["east", "west"]}))
    settings = msgspec.convert(config, Settings)
    printed = plain(manifests("flyte", plugins=Plugins(), settings=settings, kubeconfigs=("east", "west")))
    assert {key: chart.get(key) for key in printed} == printed


def test_with_shards_chart_and_install_grant_the_same() -> None:
    config = {"shards": {"count": 16}}
    chart = plain(render(MINIMAL, config=config, processes=2))
    printed = plain(manifests("flyte", plugins=Plugins(), settings=msgspec.convert(config, Settings)))
    assert {key: chart.get(key) for key in printed} == printed
    assert "--processes=2" in chart["Deployment", "propeller"]["spec"]["template"]["spec"]["containers"][0]["args"]


def rights(documents: list[Raw]) -> set[tuple[str, str, str]]:
    """Group, resource and verb of what ClusterRoles grant."""
    rules = (rule for role in of_kind(documents, "ClusterRole") for rule in role["rules"])
    return {right for rule in rules for right in itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"])}


@pytest.mark.parametrize("enabled", [*((name,) for name in OPERATORS), tuple(OPERATORS)], ids="-".join)
def test_with_operators_chart_and_install_grant_the_same_in_both_kinds_of_clusters(
    enabled: tuple[OperatorName, ...],
) -> None:
    config = {"operators": {"enabled": list(enabled)}}
    plugins = Plugins([OPERATORS[name] for name in enabled])
    assert rights(render(MINIMAL, config=config)) == rights(manifests("flyte", plugins=plugins))
    executing = render(mode="execution", config=config)
    assert (
        rights(executing) == rights(execution_cluster("flyte", plugins)) > rights(execution_cluster("flyte", Plugins()))
    )


def test_a_rule_that_two_operators_need_is_rendered_once() -> None:
    rules = only(render(MINIMAL, config={"operators": {"enabled": ["ray", "ray"]}}), "ClusterRole")["rules"]
    assert [rule for place, rule in enumerate(rules) if rule in rules[:place]] == []


@pytest.mark.needs("kubectl")
def test_the_kustomize_base_is_what_install_prints_with_its_settings() -> None:
    built = subprocess.run(
        [assets.binary("kubectl"), "kustomize", BASE], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    objects = list(yaml.safe_load_all(built))
    config = only(objects, "ConfigMap")["metadata"]["name"]
    assert re.fullmatch(r"propeller-[a-z0-9]{10}", config), "named by its content, so that a change rolls the pods"
    renamed = yaml.safe_load_all(built.replace(config, "propeller"))
    text = (BASE / "propeller.yaml").read_text()
    printed = [*manifests("flyte", plugins=Plugins()), *workload("flyte", "propeller", text)]
    (container,) = only(printed, "Deployment")["spec"]["template"]["spec"]["containers"]
    (image,) = [one for one in container["env"] if one["name"] == LOADER_IMAGE]
    container["env"].remove(image)  # `images` of an overlay would not replace it
    assert plain(list(renamed)) == plain(printed)


def test_the_files_that_are_made_from_the_package_are_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "tools" / "chart.py", "--check"], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode()


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_helm_finds_nothing_wrong_with_an_example(file: Path) -> None:
    said = helm("lint", CHART, "--strict", "--values", file)
    assert "0 chart(s) failed" in said
    assert "WARNING" not in said


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_settings_of_an_example_are_right(file: Path, tmp_path: Path) -> None:
    for config in of_kind(render(file), "ConfigMap"):
        (tmp_path / "propeller.yaml").write_text(config["data"]["propeller.yaml"])
        check_options(load(str(tmp_path / "propeller.yaml"), {}).settings.resources)


MONITORS = {"ServiceMonitor": "servicemonitors", "PodMonitor": "podmonitors"}


def monitor_crd(kind: str, plural: str) -> Raw:
    """Stands for the Prometheus operator's type, which takes anything here."""
    group = "monitoring.coreos.com"
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    return {
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApiserver]:
    with run_kube_apiserver(tmp_path_factory.mktemp("server")) as started:
        started.kubeconfig(started.authority.pair.key.with_name("kubeconfig"))
        yield started


@pytest.fixture
async def cluster(server: KubeApiserver) -> Path:
    """A kubeconfig of a cluster in which every object of the chart may be created."""
    async with connect(server.connection()) as client:
        if "flyte" not in {one["metadata"]["name"] for one in (await client.list(NAMESPACES)).items}:
            for name in ("flyte", "team-a"):
                await client.create(NAMESPACES, {"metadata": {"name": name}})
            for kind, plural in MONITORS.items():
                await client.create(CUSTOM_RESOURCE_DEFINITIONS, monitor_crd(kind, plural))
    return server.authority.pair.key.with_name("kubeconfig")


def dry_run(kubeconfig: Path, objects: list[Raw]) -> str:
    """What the API server says to objects; fails if it refuses one, or knows no field of it."""
    words = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
    done = subprocess.run(
        [assets.binary("kubectl"), "--kubeconfig", kubeconfig, "--cache-dir", kubeconfig.parent, *words],
        input=yaml.safe_dump_all(objects),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.needs("kube-apiserver", "kubectl")
@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
async def test_a_real_api_server_takes_every_object_of_an_example(cluster: Path, file: Path) -> None:
    objects = render(file)
    said = dry_run(cluster, objects)
    assert said.count("serverside-applied") == len(objects)
    assert "Warning" not in said


@pytest.mark.needs("kube-apiserver", "kubectl")
async def test_the_pods_are_allowed_in_a_namespace_of_the_restricted_profile(
    cluster: Path, server: KubeApiserver
) -> None:
    deployment = only(render(MINIMAL), "Deployment")
    template = deployment["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "restricted"},
        "spec": template["spec"],
    }
    async with connect(server.connection()) as client:
        level = {"pod-security.kubernetes.io/enforce": "restricted"}
        await client.create(NAMESPACES, {"metadata": {"name": "restricted", "labels": level}})
    assert "serverside-applied" in dry_run(cluster, [pod])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"replica": 3}, "'replica' not allowed"),
        ({"config": {"checkpoint": {"max_lagg": 1}}}, "'max_lagg' not allowed"),
        ({"config": {"checkpoint": {"max_lag": "fast"}}}, "/config/checkpoint/max_lag"),
        ({"config": {"kubelet": {"max_pods": 1}}}, "'kubelet' not allowed"),
        ({"config": {"resources": {"pools": [{"name": "a", "capacityy": 1}]}}}, "'capacityy' not allowed"),
        ({"image": {"digest": "latest"}}, "/image/digest"),
        ({"metrics": {"port": 99999}}, "/metrics/port"),
        ({"log": {"level": "loud"}}, "/log/level"),
        ({"watchNamespace": "Team_A"}, "/watchNamespace"),
        ({"identity": {"awsRoleArn": "propeller"}}, "/identity/awsRoleArn"),
        ({"rbac": {"taskResources": [{"group": "batch"}]}}, "missing property 'resource'"),
        ({"extraEnv": [{"value": "x"}]}, "missing property 'name'"),
        ({"mode": "both"}, "/mode"),
        ({"leaderElection": {"enabled": False}}, "two controllers would act"),
        ({"secrets": {"redis": {"name": "r"}}}, "config.redis.url is not"),
        ({"config": {"election": {"lease_name": "x"}}}, "leaderElection.name"),
        ({"config": {"election": {"lease_namespace": "x"}}}, "leaderElection.namespace"),
        ({"config": {"storage": {"metadata_prefix": ""}}}, "config.storage.metadata_prefix is needed"),
        ({"processes": 2}, "need config.shards.count"),
        (
            {"config": {"shards": {"count": 4}, "resources": {"pools": [{"name": "a", "capacity": 1}]}}},
            "config.redis.url",
        ),
        (
            {
                "config": {"shards": {"count": 4}},
                "leaderElection": {"enabled": False},
                "replicas": 1,
                "strategy": {"type": "Recreate"},
            },
            "shards are held by Leases",
        ),
        ({"mode": "execution"}, "config.storage has no effect"),
        (
            {"metrics": {"service": {"enabled": False}, "serviceMonitor": {"enabled": True}}},
            "metrics.serviceMonitor.enabled needs metrics.service.enabled",
        ),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_values_that_cannot_be_right_are_refused_by_name(values: dict[str, Any], says: str) -> None:
    with pytest.raises(Refused) as refusal:
        render(MINIMAL, **values)
    assert says in str(refusal.value)


def test_every_value_of_the_file_is_in_the_schema_and_every_one_of_the_schema_in_the_file() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def differing(known: Raw, given: Raw, path: str) -> Iterator[str]:
        yield from (f"{path}{name}" for name in known.keys() ^ given.keys() if path or name != "global")
        for name in known.keys() & given.keys():
            inner = known[name].get("properties")
            if inner and isinstance(given[name], dict):
                yield from differing(inner, given[name], f"{path}{name}.")

    found = set(differing(schema["properties"], values, ""))
    times = {
        f"probes.{one}.{name}"
        for one in ("startup", "liveness", "readiness")
        for name in ("initialDelaySeconds", "successThreshold")
    }
    assert found == times | {"resources.claims"}


def test_a_change_of_the_settings_rolls_the_pods_and_another_change_does_not() -> None:
    def checksum(**values: Any) -> str:
        template = only(render(MINIMAL, **values), "Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/config"])

    assert checksum() == checksum(replicas=3)
    assert checksum() != checksum(config={"checkpoint": {"max_lag": 1}})


def test_rights_that_the_settings_do_not_need_are_not_granted() -> None:
    off: Raw = {"events": {"enabled": False}, "launches": {"quotas": False}, "resources": {"fair_queues": False}}
    rules = only(render(MINIMAL, config=off), "ClusterRole")["rules"]
    assert {name for rule in rules for name in rule["resources"]} == {
        *("flyteworkflows", "flyteworkflows/status", "flyteworkflows/finalizers", "pods", "podtemplates")
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"routing": {"table": "default"}},
        {"routing": {"file": "/x"}},
        {"routing": {"file": "/x"}, "clusters": {"control": "a"}},
    ],
)
def test_rights_for_a_routing_table_are_those_that_install_grants(settings: Raw) -> None:
    rules = only(render(MINIMAL, config=settings), "ClusterRole")["rules"]
    assert rules == rules_of(parts_of(msgspec.convert(settings, Settings)))


def test_uninstalling_keeps_the_types_unless_asked_otherwise() -> None:
    kept = of_kind(render(MINIMAL), "CustomResourceDefinition")
    assert all(one["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for one in kept)
    dropped = of_kind(render(MINIMAL, crds={"keep": False}), "CustomResourceDefinition")
    assert all("annotations" not in one["metadata"] for one in dropped)
    assert len(kept) == len(dropped) == 2


FLAGS = ["metrics.service.enabled", "metrics.podMonitor.enabled", "serviceAccount.create", "rbac.create", "crds.keep"]
FLAGS += [
    "crds.flyteWorkflows",
    "crds.fairQueues",
    "crds.routingTables",
    "podDisruptionBudget.enabled",
    "networkPolicy.enabled",
]
TEXTS: dict[str, list[Any]] = {
    "fullnameOverride": ["", "a", "x" * 63],
    "watchNamespace": ["", "team-a"],
    "serviceAccount.name": ["", "robot"],
    "leaderElection.namespace": ["", "kube-system"],
    "image.digest": ["", f"sha256:{'0' * 64}"],
    "secrets.s3.name": ["", "key"],
    "identity.azureClientId": ["", "id"],
    "metrics.host": ["0.0.0.0", "::", "$(POD_IP)"],
    "commonLabels": [{}, {"team": "platform", "app.kubernetes.io/name": "mine"}],
    "podLabels": [{}, {"app.kubernetes.io/instance": "mine"}],
    "commonAnnotations": [{}, {"note": 'a: b # "c"'}],
    "extraArgs": [[], ["--log-level=debug", "a: b"]],
    "config.events.enabled": [True, False],
    "topologySpreadConstraints": [None, []],
    "resources": [{}, {"limits": {"cpu": 1}}],
}


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path, value in flat.items():
        inner = found
        *way, last = path.split(".")
        for name in way:
            inner = inner.setdefault(name, {})
        inner[last] = value
    return found


@examples(60)
@given(
    flags=st.fixed_dictionaries({}, optional={name: st.booleans() for name in FLAGS}),
    texts=st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in TEXTS.items()}),
    release=st.sampled_from(["propeller", "p", "my-propeller", "r" * 53]),
)
def test_whatever_is_switched_on_or_off_the_objects_fit_together(
    flags: dict[str, bool], texts: dict[str, Any], release: str
) -> None:
    values = nested(flags | texts)
    objects = render(MINIMAL, release=release, **values)
    identities = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in objects]
    assert len(identities) == len(set(identities))
    assert all(len(name) <= 63 for _, _, name in identities if "." not in name)
    spec = only(objects, "Deployment")["spec"]
    pod = spec["template"]
    assert pod["metadata"]["labels"].items() >= spec["selector"]["matchLabels"].items()
    account = pod["spec"]["serviceAccountName"]
    assert [one["metadata"]["name"] for one in of_kind(objects, "ServiceAccount")] in ([], [account])
    for binding in (*of_kind(objects, "ClusterRoleBinding"), *of_kind(objects, "RoleBinding")):
        assert [one["name"] for one in binding["subjects"]] == [account]
        role = (binding["roleRef"]["kind"], binding["metadata"].get("namespace"), binding["roleRef"]["name"])
        assert role in identities
    (config,) = (one for one in pod["spec"]["volumes"] if one["name"] == "config")
    assert ("ConfigMap", "flyte", config["configMap"]["name"]) in identities
    for one in (*of_kind(objects, "PodDisruptionBudget"), *of_kind(objects, "NetworkPolicy")):
        selected = one["spec"].get("selector") or one["spec"]["podSelector"]
        assert selected["matchLabels"].items() <= pod["metadata"]["labels"].items()
    for service in of_kind(objects, "Service"):
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    if values.get("watchNamespace"):
        assert not of_kind(objects, "ClusterRole")
    lease = next(word for word in pod["spec"]["containers"][0]["args"] if word.startswith("--lease="))
    leases = [
        one["metadata"]["namespace"] for one in of_kind(objects, "Role") if one["metadata"]["name"].endswith("-leases")
    ]
    assert leases in ([], [lease.removeprefix("--lease=").partition("/")[0]])
