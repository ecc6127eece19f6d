"""What a request to a connector says of its task and of who asks, field by field, as FlytePropeller 1.16 fills it in
(flyteplugins' webapi/connector/plugin.go).
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from flyteidl.admin import agent_pb2
from flyteidl.core import identifier_pb2
from google.protobuf import json_format

from propeller.errors import Invalid
from propeller.handlers.plugins import PodSettings, RemoteTask
from propeller.wire import Literals
from propeller.workflow import ExecutionSpec
from tests.unit.handlers.build import World, graph, literals, task, template
from tests.unit.handlers.test_connector_states import Answering, with_plugin

SPEC: dict[str, Any] = {
    "executionId": {"project": "flytesnacks", "domain": "development", "name": "run"},
    "serviceAccountName": "runner",
    "securityContext": {
        "run_as": {"k8s_service_account": "identity-account", "execution_identity": "ada", "iam_role": "arn:role"}
    },
    "executionConfig": {"EnvironmentVariables": {"STAGE": "test"}, "Interruptible": True},
}
"""As FlyteAdmin writes it."""

DECLARED = template(
    outputs=("o0",),
    type="trino",
    taskTypeVersion=2,
    sql={"statement": "select {{ .inputs.x }}", "dialect": "HIVE"},
    custom={"catalog": "hive", "nested": {"limit": 3}},
    config={"Host": "trino.example"},
    securityContext={"secrets": [{"group": "g", "key": "password", "mountRequirement": "ENV_VAR"}]},
    metadata={"discoverable": True, "discoveryVersion": "1", "retries": {"retries": 2}, "timeout": "60s"},
)

SYNC, ASYNC = True, False


def request_of(
    *, is_sync: bool, declared: dict[str, Any] = DECLARED, inputs: Any = None, **spec: Any
) -> tuple[Any, RemoteTask]:
    """What the service of a task is sent: a CreateTaskRequest, or the header of a sync one."""
    given = literals(x=3) if inputs is None else inputs
    of = World(
        graph(task("n0")),
        {"t": declared},
        spec=msgspec.convert(SPEC | spec, ExecutionSpec),
        labels={"execution-id": "run", "project": "flytesnacks", "domain": "development", "team": "blue"},
        annotations={"owner": "ada"},
    )
    made = RemoteTask(of.node("n0"), 1, Literals(given.SerializeToString()), PodSettings(raw_output_prefix="s3://raw"))
    service = Answering(agent_pb2.Resource(phase="SUCCEEDED"), is_sync=is_sync)
    with_plugin(service, lambda plugin: plugin.create(made))
    return service.requests[0], made


@pytest.fixture(params=[ASYNC, SYNC], ids=["CreateTask", "ExecuteTaskSync"], scope="module")
def sent(request: pytest.FixtureRequest) -> tuple[Any, RemoteTask]:
    return request_of(is_sync=request.param)


@pytest.mark.parametrize("field", ["sql", "custom", "config", "securityContext", "metadata", "interface", "id", "type"])
def test_the_template_is_what_the_task_declares(sent: tuple[Any, RemoteTask], field: str) -> None:
    request, made = sent
    declared = made.node.graph.plan.task(made.node.spec.task)
    assert request.template == declared
    given = json_format.MessageToDict(request.template)
    assert given[field] == json_format.MessageToDict(declared)[field] != {}


def test_secrets_are_named_and_no_value_is_sent(sent: tuple[Any, RemoteTask]) -> None:
    (secret,) = sent[0].template.security_context.secrets
    assert (secret.group, secret.key) == ("g", "password")


def test_the_output_prefix_is_that_of_the_attempt(sent: tuple[Any, RemoteTask]) -> None:
    request, made = sent
    assert request.output_prefix == made.output_prefix
    assert made.output_prefix.endswith("/1")


def test_the_task_execution_is_identified_as_flyteadmin_does(sent: tuple[Any, RemoteTask]) -> None:
    identity = sent[0].task_execution_metadata.task_execution_id
    assert identity.task_id == identifier_pb2.Identifier(
        resource_type=identifier_pb2.TASK, project="p", domain="d", name="mod.Task", version="v1"
    )
    execution = identity.node_execution_id.execution_id
    assert (execution.project, execution.domain, execution.name) == ("flytesnacks", "development", "run")
    assert (identity.node_execution_id.node_id, identity.retry_attempt) == ("n0", 1)


def test_labels_are_those_of_the_execution_and_of_the_node(sent: tuple[Any, RemoteTask]) -> None:
    labels = dict(sent[0].task_execution_metadata.labels)
    expected = {
        "execution-id": "run",
        "team": "blue",
        "node-id": "n0",
        "task-name": "mod-task",
        "interruptible": "true",
    }
    assert labels.items() >= expected.items()
    assert labels["project"] == "flytesnacks"


def test_annotations_are_those_of_the_execution_and_what_identifies_the_attempt(sent: tuple[Any, RemoteTask]) -> None:
    request, made = sent
    annotations = dict(request.task_execution_metadata.annotations)
    assert annotations["owner"] == "ada"
    assert annotations["propeller/job"] == made.key


def test_marks_by_which_pods_are_found_are_sent_to_nobody(sent: tuple[Any, RemoteTask]) -> None:
    """Services turn labels and annotations into those of other systems. FlytePropeller sends the execution's."""
    metadata = sent[0].task_execution_metadata
    assert [name for name in metadata.annotations if name.startswith("propeller/")] == ["propeller/job"]
    assert "execution-identity" not in metadata.labels
    assert metadata.identity.execution_identity == "ada"


def test_environment_variables_are_those_of_the_execution(sent: tuple[Any, RemoteTask]) -> None:
    assert dict(sent[0].task_execution_metadata.environment_variables) == {"STAGE": "test"}


def test_the_namespace_the_service_account_and_interruptible_are_said(sent: tuple[Any, RemoteTask]) -> None:
    metadata = sent[0].task_execution_metadata
    assert (metadata.namespace, metadata.k8s_service_account, metadata.interruptible) == ("ns", "runner", True)


@pytest.mark.parametrize("is_sync", [ASYNC, SYNC])
@pytest.mark.parametrize(
    "run_as",
    [
        {"k8s_service_account": "account", "execution_identity": "ada", "iam_role": "arn:role"},
        {"k8sServiceAccount": "account", "executionIdentity": "ada", "iamRole": "arn:role"},
    ],
)
def test_the_identity_is_that_of_the_security_context(is_sync: bool, run_as: dict[str, str]) -> None:
    identity = request_of(is_sync=is_sync, securityContext={"run_as": run_as})[0].task_execution_metadata.identity
    assert (identity.k8s_service_account, identity.execution_identity, identity.iam_role) == (
        "account",
        "ada",
        "arn:role",
    )


@pytest.mark.parametrize(
    "run_as",
    [
        {"oauth2_client": {"client_id": "me", "client_secret": {"group": "g", "key": "k", "mount_requirement": 1}}},
        {"oauth2Client": {"clientId": "me", "clientSecret": {"group": "g", "key": "k", "mountRequirement": "ENV_VAR"}}},
    ],
    ids=["as Go writes it", "as protobuf writes it"],
)
def test_the_oauth_client_of_the_identity_is_said_and_no_value_of_its_secret(run_as: dict[str, Any]) -> None:
    request, _ = request_of(is_sync=ASYNC, securityContext={"run_as": run_as})
    client = request.task_execution_metadata.identity.oauth2_client
    assert (client.client_id, client.client_secret.group, client.client_secret.key) == ("me", "g", "k")


def test_an_oauth_client_that_cannot_be_read_is_named() -> None:
    with pytest.raises(Invalid, match=r"securityContext.runAs.oauth2Client of the execution cannot be read: .*colour"):
        request_of(is_sync=ASYNC, securityContext={"run_as": {"oauth2_client": {"colour": "blue"}}})


@pytest.mark.parametrize("is_sync", [ASYNC, SYNC])
def test_a_task_with_a_pod_is_sent_as_the_pod_that_it_would_be(is_sync: bool) -> None:
    """As FlytePropeller does since 1.16: templates are filled in, environment and platform's settings are there."""
    containers = [{"name": "main", "image": "image:1", "args": ["--x", "{{.inputs.x}}", "{{.outputPrefix}}"]}]
    config = {"primary_container_name": "main"}
    declared = template(type="trino", taskTypeVersion=2, k8sPod={"podSpec": {"containers": containers}}, config=config)
    request, made = request_of(is_sync=is_sync, declared=declared)
    pod = json_format.MessageToDict(request.template.k8s_pod.pod_spec)
    (main,) = pod["containers"]
    assert main["args"] == ["--x", "3", made.output_prefix]
    assert {"name": "FLYTE_ATTEMPT_NUMBER", "value": "1"} in main["env"]
    assert pod["restartPolicy"] == "Never"
    given = json_format.MessageToDict(made.node.graph.plan.task(made.node.spec.task).k8s_pod.pod_spec)
    assert given["containers"][0]["args"][1] == "{{.inputs.x}}"


@pytest.mark.parametrize("is_sync", [ASYNC, SYNC])
def test_a_container_of_a_pod_without_a_command_is_sent_without_one(is_sync: bool) -> None:
    containers = [{"name": "main", "image": "image:1", "args": ["a"]}]
    config = {"primary_container_name": "main"}
    declared = template(type="trino", taskTypeVersion=2, k8sPod={"podSpec": {"containers": containers}}, config=config)
    (main,) = json_format.MessageToDict(request_of(is_sync=is_sync, declared=declared)[0].template.k8s_pod.pod_spec)[
        "containers"
    ]
    assert "command" not in main


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("$(HOME) $$(HOME) $HOME $$", "$(HOME) $$(HOME) $HOME $$"),
        ("$(HOME) $$(HOME) $HOME $$ {{.unknown}}", "$(HOME) $$(HOME) $HOME $$ {{.unknown}}"),
        ("$$(X) {{.inputs.x}} $({{.inputs.x}}) ${{.inputs.x}}", "$$(X) a$$b$(C) $(a$$b$(C)) $a$$b$(C)"),
    ],
)
def test_dollars_of_an_argument_are_sent_as_they_are(written: str, sent: str) -> None:
    """No Kubernetes reads it: as FlytePropeller, whether or not there is a template beside them."""
    declared = template(type="trino", taskTypeVersion=2, container={"image": "image:1", "args": [written]})
    request, _ = request_of(is_sync=ASYNC, declared=declared, inputs=literals(x="a$$b$(C)"))
    assert list(request.template.container.args) == [sent]


def test_an_argument_that_no_process_takes_is_named() -> None:
    declared = template(type="trino", taskTypeVersion=2, container={"image": "image:1", "args": ["a", "{{.inputs.x}}"]})
    with pytest.raises(Invalid, match=r"args\[1\] is 131072 bytes long"):
        request_of(is_sync=ASYNC, declared=declared, inputs=literals(x="a" * 131072))


def test_inputs_are_those_of_the_attempt() -> None:
    request, _ = request_of(is_sync=ASYNC)
    assert request.inputs == literals(x=3)


def test_no_field_of_a_request_is_left_unlooked_at() -> None:
    """A field that a later flyteidl adds has to be thought of."""
    assert {field.name for field in agent_pb2.CreateTaskRequest.DESCRIPTOR.fields} == {
        "inputs",
        "template",
        "output_prefix",
        "task_execution_metadata",
    }
    not_sent = {"max_attempts", "interruptible_failure_threshold", "overrides"}  # nor by FlytePropeller 1.16
    assert {field.name for field in agent_pb2.TaskExecutionMetadata.DESCRIPTOR.fields} - not_sent == {
        "task_execution_id",
        "namespace",
        "labels",
        "annotations",
        "k8s_service_account",
        "environment_variables",
        "interruptible",
        "identity",
    }
