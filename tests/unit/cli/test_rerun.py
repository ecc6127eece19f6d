"""The resource of an execution that is run again."""

from __future__ import annotations

from typing import Any

from propeller.cli._rerun import rerun_resource

BEFORE: dict[str, Any] = {
    "apiVersion": "flyte.lyft.com/v1alpha1",
    "kind": "FlyteWorkflow",
    "metadata": {
        "name": "first",
        "namespace": "flytesnacks-development",
        "uid": "u",
        "resourceVersion": "7",
        "labels": {"execution-id": "first", "project": "flytesnacks", "termination-status": "terminated"},
        "annotations": {"team": "a", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
        "managedFields": [{}],
    },
    "spec": {"id": "w"},
    "inputs": {"literals": {"x": {}}},
    "executionId": {"project": "flytesnacks", "domain": "development", "name": "first"},
    "executionConfig": {"MaxParallelism": 5, "RecoveryExecution": {"name": "before"}},
    "serviceAccountName": "runner",
    "status": {"phase": 5},
}


def test_it_has_the_same_workflow_inputs_and_settings_under_a_new_name() -> None:
    new = rerun_resource(BEFORE, "second", recover=False)
    assert new == {
        "apiVersion": "flyte.lyft.com/v1alpha1",
        "kind": "FlyteWorkflow",
        "metadata": {
            "name": "second",
            "namespace": "flytesnacks-development",
            "labels": {"execution-id": "second", "project": "flytesnacks", "shard-key": "29"},
            "annotations": {"team": "a"},
        },
        "spec": {"id": "w"},
        "inputs": {"literals": {"x": {}}},
        "executionId": {"project": "flytesnacks", "domain": "development", "name": "second"},
        "executionConfig": {"MaxParallelism": 5},
        "serviceAccountName": "runner",
    }


def test_a_recovery_names_the_execution_before() -> None:
    config = rerun_resource(BEFORE, "second", recover=True)["executionConfig"]
    assert config["RecoveryExecution"] == {"project": "flytesnacks", "domain": "development", "name": "first"}


def test_a_resource_made_by_hand_needs_no_labels_nor_identity_and_gets_its_shard_key() -> None:
    new = rerun_resource({"metadata": {"name": "w", "namespace": "ns"}, "spec": {}}, "second", recover=True)
    assert new["metadata"]["labels"] == {"shard-key": "29"}
    assert new["executionId"] == {}
    assert new["executionConfig"] == {"RecoveryExecution": {"name": "w"}}
