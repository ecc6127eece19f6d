"""The pod of an attempt, compared with what FlytePropeller 1.16 builds for the same task."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest

from propeller.errors import Invalid
from propeller.handlers.plugins import PodSettings
from propeller.handlers.plugins.pod import build_pod, shape_of, template_uri
from propeller.kube import Pod
from propeller.workflow import AttemptOptions, ExecutionSpec
from tests.unit.handlers.build import World, array, graph, literals, task, template

SETTINGS = PodSettings(raw_output_prefix="s3://raw", environment={"PLATFORM": "yes"})

EXECUTE = [
    "pyflyte-execute",
    "--inputs",
    "{{.input}}",
    "--output-prefix",
    "{{.outputPrefix}}",
    "--raw-output-data-prefix",
    "{{.rawOutputDataPrefix}}",
    "--checkpoint-path",
    "{{.checkpointOutputPrefix}}",
    "--prev-checkpoint",
    "{{.prevCheckpointPrefix}}",
    "--resolver",
    "flytekit.core.python_auto_container.default_task_resolver",
    "--",
    "task-module",
    "mod",
    "task-name",
    "f",
]


def spec_of(**fields: Any) -> ExecutionSpec:
    """The execution's own part of the resource, from its JSON names."""
    return msgspec.convert(fields, ExecutionSpec)


def pod_of(
    of: dict[str, Any],
    *,
    attempt: int = 0,
    node: dict[str, Any] | None = None,
    inputs: dict[str, Any] | None = None,
    settings: PodSettings = SETTINGS,
    system_failures: int = 0,
    **world: Any,
) -> dict[str, Any]:
    """The pod of node n0, which runs this task."""
    built = World(graph(task("n0", **(node or {}))), {"t": of}, **world)
    view = built.node("n0")
    built.execution.system_failures[view.number] = system_failures
    pod = build_pod(view, attempt, literals(**(inputs or {})), settings)
    return orjson.loads(orjson.dumps(pod))  # type: ignore[no-any-return]


def container_of(*args: Any, **fields: Any) -> dict[str, Any]:
    (container,) = pod_of(*args, **fields)["spec"]["containers"]
    return container  # type: ignore[no-any-return]


def variables_of(container: dict[str, Any]) -> dict[str, str]:
    """The environment as the container sees it: of two with the same name the later counts."""
    return {variable["name"]: variable.get("value", "") for variable in container["env"]}


def container_task(**fields: Any) -> dict[str, Any]:
    return template(container={"image": "image:1", **fields})


def test_the_pod_of_a_python_task_is_flytes() -> None:
    pod = pod_of(
        container_task(args=EXECUTE), labels={"project": "p", "domain": "d"}, spec=spec_of(executionId={"name": "x"})
    )
    assert pod["metadata"]["name"] == "e-n0-0"
    assert pod["metadata"]["namespace"] == "ns"
    assert pod["spec"]["restartPolicy"] == "Never"
    (container,) = pod["spec"]["containers"]
    assert container["name"] == "e-n0-0"
    assert container["image"] == "image:1"
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert container["command"] == []
    assert container["args"][:5] == [
        "pyflyte-execute",
        "--inputs",
        "memory://m/e/n0/data/inputs.pb",
        "--output-prefix",
        "memory://m/e/n0/data/0",
    ]
    assert msgspec.convert(pod, Pod).metadata.name == "e-n0-0"


@pytest.mark.parametrize("written", ["{{.outputPrefix}}/0", "{{ .OutputPrefix }}/0"])
def test_a_task_of_aws_batch_writes_its_outputs_where_those_of_every_pod_are_read(written: str) -> None:
    given = container_task(args=["--output-prefix", written, f"--log={written}"])
    (of_others,) = pod_of(given)["spec"]["containers"]
    container = container_of(given | {"type": "aws-batch"})
    assert f"{container['args'][1]}/0" == of_others["args"][1]
    assert container["args"][2] == of_others["args"][2]  # only where the whole argument is that place


def test_its_owner_is_the_workflow_so_that_it_goes_with_it() -> None:
    assert pod_of(container_task())["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "flyte.lyft.com/v1alpha1",
            "kind": "FlyteWorkflow",
            "name": "e",
            "uid": "uid",
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def test_its_labels_say_what_it_runs() -> None:
    labels = pod_of(container_task(), labels={"execution-id": "x", "team": "a"})["metadata"]["labels"]
    assert labels == {
        "execution-id": "x",
        "team": "a",
        "node-id": "n0",
        "task-name": "mod-task",
        "interruptible": "false",
    }
    assert pod_of(container_task())["metadata"]["labels"]["execution-id"] == "e"


def test_its_annotations_say_which_attempt_of_which_node_it_is() -> None:
    annotations = pod_of(container_task(), attempt=3, annotations={"a": "b"})["metadata"]["annotations"]
    assert annotations == {
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "a": "b",
        "propeller/node": "n0",
        "propeller/attempt": "3",
        "propeller/system-failures": "0",
        "primary_container_name": "e-n0-3",
    }


def test_the_copy_of_the_workflow_that_kubectl_apply_leaves_does_not_go_to_pods() -> None:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 100_000}
    assert not annotations.keys() & pod_of(container_task(), annotations=annotations)["metadata"]["annotations"].keys()


def test_nobody_else_may_say_which_attempt_it_is() -> None:
    pod = pod_of(container_task(), annotations={"propeller/attempt": "9", "propeller/node": "other"})
    assert pod["metadata"]["annotations"]["propeller/attempt"] == "0"
    assert pod["metadata"]["annotations"]["propeller/node"] == "n0"


def test_labels_and_annotations_of_the_task_are_there_and_the_executions_win() -> None:
    of = container_task() | {
        "metadata": {"metadata": {"labels": {"l": "task", "t": "task"}, "annotations": {"a": "task"}}}
    }
    metadata = pod_of(of, labels={"l": "execution"}, annotations={"b": "execution"})["metadata"]
    assert (metadata["labels"]["l"], metadata["labels"]["t"]) == ("execution", "task")
    assert (metadata["annotations"]["a"], metadata["annotations"]["b"]) == ("task", "execution")


def test_a_long_name_is_the_hash_that_flyte_gives_it() -> None:
    """Hash and shard are what Go's hash/fnv and encoding/base32 give with Flyte's alphabet."""
    pod = pod_of(container_task(), name="a-very-long-name-of-an-execution-that-goes-on-and-on")
    assert pod["metadata"]["name"] == pod["spec"]["containers"][0]["name"] == "ffx5vxxq"


def test_a_name_that_no_container_can_have_is_replaced() -> None:
    assert container_of(container_task(), name="with.dots")["name"] == "primary"


def test_the_environment_says_who_the_task_is() -> None:
    variables = variables_of(
        container_of(
            container_task(env=[{"key": "OWN", "value": "1"}]),
            attempt=2,
            spec=spec_of(
                executionId={"project": "p", "domain": "d", "name": "x"},
                executionConfig={"EnvironmentVariables": {"FROM_EXECUTION": "2"}},
            ),
        )
    )
    assert variables == {
        "OWN": "1",
        "FLYTE_INTERNAL_EXECUTION_WORKFLOW": "w",
        "FLYTE_INTERNAL_EXECUTION_ID": "x",
        "FLYTE_INTERNAL_EXECUTION_PROJECT": "p",
        "FLYTE_INTERNAL_EXECUTION_DOMAIN": "d",
        "FLYTE_ATTEMPT_NUMBER": "2",
        "FLYTE_INTERNAL_TASK_PROJECT": "p",
        "FLYTE_INTERNAL_TASK_DOMAIN": "d",
        "FLYTE_INTERNAL_TASK_NAME": "mod.Task",
        "FLYTE_INTERNAL_TASK_VERSION": "v1",
        "FROM_EXECUTION": "2",
        "PLATFORM": "yes",
    }


def test_of_two_variables_of_one_name_the_executions_wins_and_the_platforms_above_all() -> None:
    container = container_of(
        container_task(env=[{"key": "A", "value": "task"}, {"key": "PLATFORM", "value": "task"}]),
        spec=spec_of(executionConfig={"EnvironmentVariables": {"A": "execution", "PLATFORM": "execution"}}),
    )
    assert (variables_of(container)["A"], variables_of(container)["PLATFORM"]) == ("execution", "yes")


def test_a_task_with_links_knows_its_address_in_the_console() -> None:
    spec = spec_of(
        executionId={"project": "p", "domain": "d", "name": "x"}, consoleUrl="https://flyte.example/console/"
    )
    of = container_task() | {"config": {"link_type": "vscode"}}
    expected = "https://flyte.example/console/projects/p/domains/d/executions/x/nodeId/n0/nodes"
    assert variables_of(container_of(of, spec=spec))["FLYTE_EXECUTION_URL"] == expected
    assert "FLYTE_EXECUTION_URL" not in variables_of(container_of(container_task(), spec=spec))


def test_an_item_of_a_map_task_knows_its_index_and_reads_the_common_inputs() -> None:
    world = World(graph(array("n0")), {"t": container_task(args=EXECUTE)})
    _, second = world.open_items("n0", 2)
    pod = build_pod(second, 1, literals(), SETTINGS)
    (container,) = pod["spec"]["containers"]
    variables = variables_of(container)
    assert variables[variables["BATCH_JOB_ARRAY_INDEX_VAR_NAME"]] == "1"
    assert container["args"][2] == "memory://m/e/n0/data/inputs.pb"
    assert container["args"][4] == "memory://m/e/n0/data/0/1/1"


def test_an_item_of_the_older_map_task_gets_the_prefix_to_which_it_adds_its_index() -> None:
    """flytekit's entrypoint does (_execute_map_task)."""
    of = {**container_task(args=EXECUTE), "type": "container_array", "taskTypeVersion": 1}
    world = World(graph(task("n0")), {"t": of})
    _, second = world.open_items("n0", 2)
    args = build_pod(second, 1, literals(), SETTINGS)["spec"]["containers"][0]["args"]
    assert args[2] == "memory://m/e/n0/data/inputs.pb"
    assert f"{args[4]}/1" == "memory://m/e/n0/data/0/1/1/1" == world.execution.output_directory(second.number, 1)


def test_an_item_with_inputs_of_its_own_reads_those() -> None:
    world = World(graph(array("n0", dataMode=1)), {"t": container_task(args=EXECUTE)})
    _, second = world.open_items("n0", 2)
    pod = build_pod(second, 0, literals(), SETTINGS)
    assert pod["spec"]["containers"][0]["args"][2] == "memory://m/e/n0/data/0/1/inputs.pb"


def test_raw_outputs_go_where_the_execution_says_else_where_the_platform_says() -> None:
    args = ["{{.rawOutputDataPrefix}}"]
    assert container_of(container_task(args=args))["args"] == ["s3://raw/ri/e-n0-0"]
    for spelling in ("output_location_prefix", "outputLocationPrefix"):
        spec = spec_of(rawOutputDataConfig={spelling: "s3://mine/"})
        assert container_of(container_task(args=args), spec=spec)["args"] == ["s3://mine/ri/e-n0-0"]


def test_raw_outputs_in_files_are_plain_paths() -> None:
    """flytekit does not read back what it stored under a file:// URI."""
    settings = PodSettings(raw_output_prefix="file:///tmp/raw")
    assert container_of(container_task(args=["{{.rawOutputDataPrefix}}"]), settings=settings)["args"] == [
        "/tmp/raw/ri/e-n0-0"
    ]


def test_each_attempt_has_its_own_places_and_knows_the_last_ones_checkpoints() -> None:
    args = ["{{.outputPrefix}}", "{{.checkpointOutputPrefix}}", "{{.prevCheckpointPrefix}}", "{{.perRetryUniqueKey}}"]
    first, second = (container_of(container_task(args=args), attempt=attempt)["args"] for attempt in (0, 1))
    assert first[2] == '""'
    assert second[2] == first[1]
    assert all(a != b for a, b in zip(first, second, strict=True))
    assert second[3] == "e_n0_1"


@pytest.mark.parametrize(
    ("node", "spec", "expected"),
    [
        ({}, {}, False),
        ({}, {"node-defaults": {"interruptible": True}}, True),
        ({}, {"node-defaults": {"interruptible": True}, "executionConfig": {"Interruptible": False}}, False),
        ({}, {"executionConfig": {"Interruptible": True}}, True),
        ({"interruptible": False}, {"executionConfig": {"Interruptible": True}}, False),
        ({"interruptible": True}, {}, True),
    ],
)
def test_what_is_interruptible_is_the_nodes_to_say_then_the_executions_then_the_workflows(
    node: dict[str, Any], spec: dict[str, Any], expected: bool
) -> None:
    labels = pod_of(container_task(), node=node, spec=spec_of(**spec))["metadata"]["labels"]
    assert labels["interruptible"] == str(expected).lower()


def test_the_last_attempt_that_system_failures_leave_is_not_interruptible() -> None:
    for failures in range(AttemptOptions().system_retries + 1):
        pod = pod_of(container_task(), node={"interruptible": True}, system_failures=failures)
        assert pod["metadata"]["labels"]["interruptible"] == str(failures < AttemptOptions().system_retries).lower()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, None),
        ({"serviceAccountName": "a"}, "a"),
        ({"securityContext": {"run_as": {"k8s_service_account": "b"}}}, "b"),
        ({"securityContext": {"runAs": {"k8sServiceAccount": "b"}}}, "b"),
        ({"serviceAccountName": "a", "securityContext": {"run_as": {"k8s_service_account": "b"}}}, "a"),
        ({"serviceAccountName": "a", "securityContext": {"run_as": {"iam_role": "r"}}}, "a"),
    ],
)
def test_the_service_account_is_the_executions(spec: dict[str, Any], expected: str | None) -> None:
    assert pod_of(container_task(), spec=spec_of(**spec))["spec"].get("serviceAccountName") == expected


@pytest.mark.parametrize(
    ("override", "runs"),
    [
        ({"PluginIDs": ["special"], "MissingPluginBehavior": 0}, False),
        ({"PluginIDs": ["special"], "MissingPluginBehavior": "FAIL"}, False),
        ({"PluginIDs": ["special"]}, False),
        ({"PluginIDs": ["special"], "MissingPluginBehavior": 1}, True),
        ({"PluginIDs": ["special", "container"], "MissingPluginBehavior": 0}, True),
        ({"PluginIDs": None, "MissingPluginBehavior": 0}, True),
    ],
)
def test_a_task_whose_execution_insists_on_another_plugin_is_refused(override: dict[str, Any], runs: bool) -> None:
    spec = spec_of(executionConfig={"TaskPluginImpls": {"python-task": override}})
    if runs:
        pod_of(container_task(), spec=spec)
        return
    with pytest.raises(Invalid, match="TaskPluginImpls asks for plugin special"):
        pod_of(container_task(), spec=spec)
    pod_of(container_task() | {"type": "other"}, spec=spec)


def test_the_identity_that_an_execution_runs_as_is_a_label() -> None:
    for run_as, identity in (("run_as", "execution_identity"), ("runAs", "executionIdentity")):
        spec = spec_of(securityContext={run_as: {identity: "Ann@example.org"}})
        assert pod_of(container_task(), spec=spec)["metadata"]["labels"]["execution-identity"] == "ann-example-org"


def test_a_node_may_override_the_image() -> None:
    assert container_of(container_task(), node={"containerImage": "other:2"})["image"] == "other:2"


def test_values_of_inputs_go_into_commands() -> None:
    args = ["--n", "{{.inputs.n}}", "{{ .Inputs.xs }}"]
    assert container_of(container_task(args=args), inputs={"n": 3, "xs": [1, 2]})["args"] == ["--n", "3", "[1,2]"]


@pytest.mark.parametrize(("argument", "share"), [(1, True), (100_000, False)])
def test_nodes_with_as_many_overrides_share_pods_of_small_tasks_alone(argument: int, *, share: bool) -> None:
    """A task of 100 kB with hundreds of unlike overrides would take hundreds of MB."""
    nodes = [task(f"n{number}", containerImage=f"image:{number}") for number in range(100)]
    world = World(graph(*nodes), {"t": container_task(args=["a" * argument])})
    first = shape_of(world.node("n0"))
    assert shape_of(world.node("n0")) is first
    for node in nodes:
        shape_of(world.node(node["id"]))
    assert (shape_of(world.node("n0")) is first) is share


@pytest.mark.parametrize("target", ["container", "k8sPod"])
def test_a_task_may_ask_for_its_own_template(target: str) -> None:
    args = ["--task-template-path", "{{ .taskTemplatePath }}"]
    of = container_task(args=args) if target == "container" else pod_task(args=args)
    nodes = task("n0"), task("n1", task="plain"), task("n2", task="plain pod")
    world = World(graph(*nodes), {"t": of, "plain": container_task(args=["{{.input}}"]), "plain pod": pod_task()})
    assert [shape_of(world.node(name)).needs_template for name in ("n0", "n1", "n2")] == [True, False, False]
    pod = build_pod(world.node("n0"), 0, literals(), SETTINGS)
    assert pod["spec"]["containers"][0]["args"][1] == template_uri(world.node("n0")) == "memory://m/e/n0/data/task.pb"


def pod_task(*, primary: str = "main", **fields: Any) -> dict[str, Any]:
    """What flytekit makes of `@task(pod_template=...)`: a primary container, a sidecar and an init container."""
    containers = [
        {"name": "main", "image": "image:1", "ports": [{"containerPort": 8080}], **fields},
        {"name": "sidecar", "image": "image:2"},
    ]
    pod_spec = {
        "containers": containers,
        "initContainers": [{"name": "init", "image": "image:3", "args": ["{{.input}}"]}],
        "terminationGracePeriodSeconds": 30,
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
    }
    metadata = {"labels": {"l": "pod"}, "annotations": {"a": "pod"}}
    return template(k8sPod={"podSpec": pod_spec, "metadata": metadata}, config={"primary_container_name": primary})


def test_a_pod_task_keeps_its_own_spec_and_each_container_gets_flytes_variables() -> None:
    pod = pod_of(pod_task(args=EXECUTE, env=[{"name": "OWN", "value": "1"}]))
    spec = pod["spec"]
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    main, sidecar = spec["containers"]
    (init,) = spec["initContainers"]
    assert main["args"][2] == "memory://m/e/n0/data/inputs.pb"
    assert init["args"] == ["memory://m/e/n0/data/inputs.pb"]
    assert main["env"][0] == {"name": "OWN", "value": "1"}
    assert all(variables_of(c)["FLYTE_ATTEMPT_NUMBER"] == "0" for c in (main, sidecar, init))
    assert pod["metadata"]["labels"]["l"] == "pod"
    assert pod["metadata"]["annotations"]["a"] == "pod"
    assert pod["metadata"]["annotations"]["primary_container_name"] == "main"


def test_whole_numbers_in_a_pod_task_stay_whole() -> None:
    """A protobuf struct knows only floats; an API server refuses port 8080.0."""
    spec = pod_of(pod_task())["spec"]
    assert orjson.dumps(spec["containers"][0]["ports"]) == b'[{"containerPort":8080}]'
    assert orjson.dumps(spec["terminationGracePeriodSeconds"]) == b"30"


def test_a_pod_task_may_name_its_primary_container_in_the_pod_itself() -> None:
    of = pod_task()
    of["k8sPod"]["primaryContainerName"] = of["config"].pop("primary_container_name")
    assert pod_of(of)["metadata"]["annotations"]["primary_container_name"] == "main"


def test_the_image_override_is_for_the_primary_container_alone() -> None:
    main, sidecar = pod_of(pod_task(), node={"containerImage": "other:2"})["spec"]["containers"]
    assert (main["image"], sidecar["image"]) == ("other:2", "image:2")


def test_sidecars_get_no_default_requests_and_no_overrides_but_stay_within_the_limits() -> None:
    config = {"TaskResources": {"Requests": {"CPU": "1", "Memory": "1Gi"}, "Limits": {"CPU": "2", "Memory": "2Gi"}}}
    of = pod_task()
    of["k8sPod"]["podSpec"]["containers"][1]["resources"] = {"requests": {"cpu": 4}}
    main, sidecar = pod_of(
        of, spec=spec_of(executionConfig=config), node={"resources": {"requests": {"cpu": "1500m"}}}
    )["spec"]["containers"]
    assert main["resources"] == {
        "requests": {"cpu": "1500m", "memory": "1Gi"},
        "limits": {"cpu": "1500m", "memory": "1Gi"},
    }
    assert sidecar["resources"] == {"requests": {"cpu": "2"}}


def test_a_raw_container_is_done_when_its_pod_is() -> None:
    pod = pod_of(template(type="raw-container", container={"image": "alpine", "dataConfig": {"enabled": True}}))
    assert "primary_container_name" not in pod["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("of", "message"),
    [
        (pod_task(primary="none"), r"is 'none', which is not among its containers \['main', 'sidecar'\]"),
        (template(sql={"statement": "SELECT 1"}), "of type 'python-task' has sql instead of a container"),
        (container_task(args=["{{.inputs.none}}"]), "names input 'none'"),
        (container_task(resources={"requests": [{"name": "CPU", "value": "lots"}]}), "'lots' is not a quantity"),
    ],
)
def test_a_task_that_cannot_be_a_pod_is_invalid(of: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        pod_of(of)


def test_the_same_attempt_is_the_same_pod() -> None:
    assert pod_of(pod_task(args=EXECUTE)) == pod_of(pod_task(args=EXECUTE))


def test_the_template_is_not_changed_by_its_pods() -> None:
    world = World(graph(task("n0")), {"t": pod_task(args=EXECUTE)})
    before = world.plan.task("t").SerializeToString(deterministic=True)
    for attempt in range(2):
        build_pod(world.node("n0"), attempt, literals(), SETTINGS)
    assert world.plan.task("t").SerializeToString(deterministic=True) == before


def test_no_variable_that_the_author_did_not_write_is_expanded_by_kubernetes() -> None:
    spec = spec_of(
        executionId={"project": "$(OWN)", "domain": "d", "name": "x"},
        executionConfig={"EnvironmentVariables": {"FROM_EXECUTION": "$(OWN)$$"}},
        consoleUrl="https://flyte/$(OWN)",
    )
    of = container_task(env=[{"key": "OWN", "value": "$(OTHER)"}]) | {"config": {"link_type": "vscode"}}
    variables = variables_of(container_of(of, spec=spec))
    assert variables["OWN"] == "$(OTHER)"
    assert variables["FLYTE_INTERNAL_EXECUTION_PROJECT"] == "$$(OWN)"
    assert variables["FROM_EXECUTION"] == "$$(OWN)$$$$"
    assert variables["FLYTE_EXECUTION_URL"].startswith("https://flyte/$$(OWN)/projects/$$(OWN)/")


@pytest.mark.parametrize(("value", "says"), [("a\0b", "has a NUL character"), ("x" * 131_072, "bytes long")])
def test_a_variable_that_no_process_can_be_given_is_refused_by_name(value: str, says: str) -> None:
    spec = spec_of(executionConfig={"EnvironmentVariables": {"BAD": value}})
    with pytest.raises(Invalid, match=f"variable 'BAD' {says if 'NUL' in says else 'is'}"):
        container_of(container_task(), spec=spec)
    with pytest.raises(Invalid, match=f"variable 'BAD' {says if 'NUL' in says else 'is'}"):  # the author's own, too
        container_of(container_task(env=[{"key": "BAD", "value": value}]))
