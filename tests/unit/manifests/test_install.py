"""What `propeller install` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from propeller.cli.commands._install import command
from propeller.config import EventOptions, LaunchOptions, ResourceOptions, Settings
from propeller.handlers.plugins import Plugins
from propeller.manifests import RULES, Part, manifests, parts_of, rules_of

STORAGE = "storage:\n  metadata_prefix: s3://bucket/metadata\n"


def printed(*words: str) -> list[dict[str, Any]]:
    done = CliRunner().invoke(command, ["--print", *words])
    assert done.exit_code == 0, done.output
    return list(yaml.safe_load_all(done.stdout))


def of_kind(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = (one for one in documents if one["kind"] == kind)
    return found


def test_with_an_image_the_controller_runs_as_two_replicas_with_the_settings_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "propeller.yaml").write_text(STORAGE)
    documents = printed("--image", "registry/propeller:1", "--config", str(tmp_path / "propeller.yaml"))
    assert of_kind(documents, "ConfigMap")["data"] == {"propeller.yaml": STORAGE}
    deployment = of_kind(documents, "Deployment")["spec"]
    (container,) = deployment["template"]["spec"]["containers"]
    assert (deployment["replicas"], container["image"]) == (2, "registry/propeller:1")
    assert documents[: len(printed())] == printed(), "the rest is as without a controller"


def test_settings_in_toml_become_yaml_and_another_text_another_checksum(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[storage]\nmetadata_prefix = "s3://bucket/metadata"\n')
    (tmp_path / "b.toml").write_text('[storage]\nmetadata_prefix = "s3://other/metadata"\n')
    found = [printed("--image", "i", "--config", str(tmp_path / name)) for name in ("a.toml", "b.toml")]
    assert of_kind(found[0], "ConfigMap")["data"] == {"propeller.yaml": STORAGE}
    sums = [of_kind(one, "Deployment")["spec"]["template"]["metadata"]["annotations"] for one in found]
    assert sums[0] != sums[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--image", "i"), "storage.metadata_prefix"),
        (("--image", "i", "--crd-only"), "exclude each other"),
        (("--crd-only", "--execution-cluster"), "exclude each other"),
    ],
)
def test_options_that_do_not_fit_are_refused(words: tuple[str, ...], says: str) -> None:
    done = CliRunner().invoke(command, ["--print", *words])
    assert done.exit_code == 2
    assert says in done.output


def test_a_cluster_that_only_runs_tasks_gets_no_rights_on_workflows_and_leases() -> None:
    rules = of_kind(printed("--execution-cluster"), "ClusterRole")["rules"]
    assert {name for rule in rules for name in rule["resources"]} >= {"pods", "resourcequotas", "limitranges"}
    assert not {name for rule in rules for name in rule["resources"]} & {"flyteworkflows", "leases", "events"}


def test_rights_that_settings_do_not_need_are_left_out() -> None:
    without = Settings(
        events=EventOptions(enabled=False),
        launches=LaunchOptions(quotas=False),
        resources=ResourceOptions(fair_queues=False),
    )
    assert parts_of(without) == [Part.WORKFLOWS, Part.TASKS]
    role = of_kind(manifests("flyte", plugins=Plugins(), settings=without), "ClusterRole")
    assert role["rules"] == rules_of([Part.WORKFLOWS, Part.TASKS])


def test_a_routing_table_has_its_type_and_its_rights_if_it_is_asked_for(tmp_path: Path) -> None:
    name = "routingtables.propeller.dev"
    assert name not in yaml.safe_dump(printed())
    settings = tmp_path / "propeller.yaml"
    settings.write_text("routing: {table: default}")
    for options in (("--routing",), ("--config", str(settings))):
        documents = printed(*options)
        assert name in [one["metadata"]["name"] for one in documents]
        rules = of_kind(documents, "ClusterRole")["rules"]
        verbs = {one["resources"][0]: one["verbs"] for one in rules if one["resources"][0].startswith("routing")}
        assert {
            "apiGroups": [""],
            "resources": ["namespaces"],
            "verbs": ["get"],
            "resourceNames": ["kube-system"],
        } in rules
        assert verbs == {"routingtables": ["list", "watch"], "routingtables/status": ["patch"]}
        assert name in [one["metadata"]["name"] for one in printed("--crd-only", *options)]
        assert name not in yaml.safe_dump(printed("--only", "team-a", *options)), "it has no namespace"


def test_who_divides_the_workflows_may_list_and_delete_leases_and_nobody_else() -> None:
    def verbs(*words: str) -> list[str]:
        (role,) = (one for one in printed(*words) if one["kind"] == "Role")
        return [verb for rule in role["rules"] for verb in rule["verbs"]]

    assert verbs() == ["get", "create", "update"]
    assert verbs("--shards") == [*verbs(), "list", "watch", "delete"]


def test_secrets_with_kubeconfigs_may_be_read_by_name() -> None:
    rules = [one["rules"] for one in printed("--cluster-secret", "east", "--cluster-secret", "west") if "rules" in one]
    secrets = [rule for found in rules for rule in found if "secrets" in rule["resources"]]
    assert [(rule["verbs"], rule["resourceNames"]) for rule in secrets] == [(["get"], ["east", "west"])]


def test_each_right_has_its_reason() -> None:
    assert all(one.why for one in RULES)
    assert len({(one.part, one.group, one.resource) for one in RULES}) == len(RULES), "each resource once"
