"""`propeller tenants sync` as docs/tenants.md shows it, on two real API servers, with drift made by hand."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import msgspec
import pytest
import yaml

from propeller.errors import NotFound
from propeller.kube import LEASES, NAMESPACES, RESOURCE_QUOTAS, Client, Raw, connect
from propeller.testing import KubeApiserver, eventually, run_kube_apiserver
from tests.e2e.conftest import DEADLINE, Ended, Propeller

PAGE = (Path(__file__).parents[2] / "docs" / "tenants.md").read_text()
CONTEXTS = ("kind-main", "kind-gpu")

pytestmark = pytest.mark.needs("kube-apiserver")


class Clusters(msgspec.Struct, frozen=True):
    """The two of the page, and its files beside a kubeconfig with both."""

    propeller: Propeller
    main: Client
    gpu: Client

    def sync(self, *words: str) -> Ended:
        return self.propeller("tenants", "sync", "tenants.yaml", *words, **self.environment)

    @property
    def environment(self) -> dict[str, str]:
        return {"KUBECONFIG": str(self.propeller.home / "both"), "IAM_ROLE": "arn:aws:iam::1:role/flyte"}

    async def quota(self, client: Client, where: str) -> Raw:
        found: Raw = (await client.get(RESOURCE_QUOTAS, "project-quota", where))["spec"]["hard"]
        return found


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[KubeApiserver]]:
    with ExitStack() as stack:
        yield [stack.enter_context(run_kube_apiserver(tmp_path_factory.mktemp(name))) for name in CONTEXTS]


@pytest.fixture
async def clusters(servers: list[KubeApiserver], propeller: Propeller) -> AsyncIterator[Clusters]:
    document: Raw = {"apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": []}
    for name, server in zip(CONTEXTS, servers, strict=True):
        one = yaml.safe_load(server.kubeconfig(propeller.home / name).read_text())
        document["clusters"].append({**one["clusters"][0], "name": name})
        document["users"].append({**one["users"][0], "name": name})
        document["contexts"].append({"name": name, "context": {"cluster": name, "user": name}})
    (propeller.home / "both").write_text(yaml.safe_dump(document))
    for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL):
        path = propeller.home / re.match(r"# (\S+)\n", text)[1]  # type: ignore[index]
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    async with AsyncExitStack() as stack:
        main, gpu = [await stack.enter_async_context(connect(server.connection())) for server in servers]
        yield Clusters(propeller, main, gpu)


def documented() -> list[list[str]]:
    """The page's commands that sync."""
    lines = [line for text in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in text.splitlines()]
    return [line.split()[1:] for line in lines if line.startswith("propeller tenants sync")]


async def test_the_page_from_the_dry_run_to_the_mended_drift(clusters: Clusters) -> None:
    dry, do, watch = documented()
    assert (dry[-1], do[-1], watch[-1]) == ("--dry-run", "tenants.yaml", "--watch")
    first = clusters.propeller(*dry, **clusters.environment)
    assert first.code == 1, first.err
    assert "main: namespace/ml-production would be created" in first.out
    with pytest.raises(NotFound):
        await clusters.main.get(NAMESPACES, "ml-production")

    done = clusters.propeller(*do, **clusters.environment)
    assert (done.code, done.err) == (0, "")
    assert [line for line in done.out.splitlines() if line.endswith(" created") and "/" not in line] == [
        "main: 6 created",
        "gpu: 6 created",
    ]
    assert await clusters.quota(clusters.main, "ml-development") == {"limits.cpu": "8", "limits.memory": "32Gi"}
    assert (await clusters.quota(clusters.main, "ml-production"))["limits.cpu"] == "64"
    assert (await clusters.quota(clusters.gpu, "ml-development"))["limits.cpu"] == "16"
    with pytest.raises(NotFound):
        await clusters.main.get(NAMESPACES, "etl-development")

    body = {"spec": {"hard": {"limits.cpu": "1000"}}}
    await clusters.gpu.patch(RESOURCE_QUOTAS, "project-quota", "ml-development", body=body, field_manager="by-hand")
    await clusters.main.delete(RESOURCE_QUOTAS, "project-quota", "etl-production")
    shown = clusters.sync("--dry-run")
    assert shown.code == 1
    assert 'gpu: resourcequota/ml-development/project-quota has drifted\n    spec.hard.limits.cpu: "1k" -> "16"' in (
        shown.out.replace('"1000"', '"1k"')
    )
    assert "main: resourcequota/etl-production/project-quota would be created" in shown.out
    mended = clusters.sync("--output", "json")
    actions = {
        (cluster["cluster"], one["namespace"], one["action"])
        for cluster in mended.json
        for one in cluster["objects"]
        if one["action"] != "unchanged"
    }
    assert actions == {("main", "etl-production", "created"), ("gpu", "ml-development", "mended")}
    again = clusters.sync("--dry-run")
    assert (again.code, again.out) == (0, "main: 6 unchanged\ngpu: 6 unchanged\n")


async def test_a_cluster_that_cannot_be_reached_hides_no_other(clusters: Clusters) -> None:
    config = yaml.safe_load((clusters.propeller.home / "tenants.yaml").read_text())
    config["clusters"].insert(0, {"name": "lost", "context": "nowhere"})
    (clusters.propeller.home / "tenants.yaml").write_text(yaml.safe_dump(config))
    done = clusters.sync()
    assert done.code == 3
    assert "error: cluster lost: " in done.err
    assert "main: " in done.out
    assert "gpu: " in done.out
    only = clusters.sync("--cluster", "gpu")
    assert (only.code, only.out.count("\n")) == (0, 1)
    nobody = clusters.sync("--cluster", "nobody")
    assert nobody.code == 2
    assert "--cluster 'nobody' is none of lost, main, gpu" in nobody.err


async def test_nothing_is_applied_if_a_template_has_a_variable_that_is_none(clusters: Clusters) -> None:
    (clusters.propeller.home / "templates" / "c.yaml").write_text(
        "{apiVersion: v1, kind: Namespace, metadata: {name: 'x-{{ nope }}'}}"
    )
    done = clusters.sync()
    assert (done.code, done.out) == (2, "")
    assert "template c.yaml uses {{ nope }}, which is no variable" in done.err
    missing = clusters.propeller("tenants", "sync", "tenants.yaml", **{**clusters.environment, "IAM_ROLE": ""})
    assert "variable IAM_ROLE of the environment, which is not set" in missing.err


async def test_a_loop_mends_while_it_holds_the_lease_and_outlasts_a_file_that_is_wrong(clusters: Clusters) -> None:
    path = clusters.propeller.home / "tenants.yaml"
    text = path.read_text() + "interval: 1\nlease: {namespace: default}\n"
    path.write_text(text)
    process = clusters.propeller.start("tenants", "sync", "tenants.yaml", "--watch", **clusters.environment)
    try:

        async def is_synced() -> bool:
            cpu = (await clusters.quota(clusters.main, "ml-development"))["limits.cpu"]
            return bool(cpu == "8")

        async def leads() -> bool:
            return bool((await clusters.main.get(LEASES, "propeller-tenants", "default")).spec.holder_identity)

        await eventually(leads, deadline=DEADLINE)
        await eventually(is_synced, deadline=DEADLINE)
        path.write_text("templates: [")
        await asyncio.sleep(2.5)
        path.write_text(text)
        body = {"spec": {"hard": {"limits.cpu": "1000"}}}
        await clusters.main.patch(RESOURCE_QUOTAS, "project-quota", "ml-development", body=body)
        await eventually(is_synced, deadline=DEADLINE)
        assert await leads()
    finally:
        process.terminate()
        out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 143, err
    assert out == ""
    assert "tenants.yaml does not parse" in err
    assert "resourcequota/ml-development/project-quota mended" in err
    assert json.dumps(err).count("Traceback") == 0
    assert not await leads(), "it has given the lease up"
