"""Workflows of connector tasks, each of one kind or of one end. `custom.mode` tells the service of `recorder.py` how a
job goes on.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Optional

from flytekit import (
    ContainerTask,
    PodTemplate,
    Resources,
    Secret,
    SQLTask,
    TaskMetadata,
    conditional,
    map_task,
    task,
    workflow,
)
from flytekit.configuration import SerializationSettings
from flytekit.core.base_task import PythonTask
from flytekit.core.interface import Interface
from flytekit.core.python_function_task import PythonFunctionTask
from flytekit.extend import TaskPlugins
from flytekit.extend.backend.base_connector import AsyncConnectorExecutorMixin, SyncConnectorExecutorMixin
from flytekit.sensor.file_sensor import FileSensor
from flytekit.types.file import FlyteFile
from kubernetes.client import V1Container, V1EnvVar, V1PodSpec, V1ResourceRequirements, V1Toleration

IMAGE = "registry.example/peers:1"


class Job(AsyncConnectorExecutorMixin, PythonTask[None]):  # type: ignore[misc]
    """Doubles a number, elsewhere; it has no container."""

    def __init__(self, name: str, mode: str = "ok", outputs: dict[str, type] | None = None, **more: Any) -> None:
        interface = Interface({"value": int}, {"o0": int} if outputs is None else outputs)
        super().__init__("peer_job", name, None, interface=interface, **more)
        self.mode = mode

    def get_custom(self, settings: SerializationSettings) -> dict[str, Any]:
        return {"mode": self.mode, "nested": {"list": [1, "two", None, 2.5], "flag": True}}

    def get_config(self, settings: SerializationSettings) -> dict[str, str]:
        return {"Host": "warehouse.example"}


class SyncJob(SyncConnectorExecutorMixin, PythonTask[None]):  # type: ignore[misc]
    def __init__(self, name: str, mode: str = "ok", **more: Any) -> None:
        super().__init__("peer_sync", name, None, interface=Interface({"value": int}, {"o0": int}), **more)
        self.mode = mode

    def get_custom(self, settings: SerializationSettings) -> dict[str, Any]:
        return {"mode": self.mode}


@dataclass
class Elsewhere:
    queue: str = "short"


class FunctionJob(AsyncConnectorExecutorMixin, PythonFunctionTask[Elsewhere]):  # type: ignore[misc]
    """A Python function whose container a connector starts, as those of Databricks, Slurm and MMCloud do."""

    def __init__(self, task_config: Elsewhere, task_function: Any, **more: Any) -> None:
        super().__init__(task_config=task_config, task_function=task_function, task_type="peer_function", **more)

    def get_custom(self, settings: SerializationSettings) -> dict[str, Any]:
        return {"mode": "ok", "queue": self.task_config.queue}


TaskPlugins.register_pythontask_plugin(Elsewhere, FunctionJob)


class ShellJob(AsyncConnectorExecutorMixin, ContainerTask):  # type: ignore[misc]
    """A container whose arguments have templates."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._task_type = "peer_shell"

    def get_custom(self, settings: SerializationSettings) -> dict[str, Any]:
        return {"mode": "empty"}


class Query(AsyncConnectorExecutorMixin, SQLTask[None]):  # type: ignore[misc]
    def __init__(self, name: str, query: str, inputs: dict[str, type]) -> None:
        super().__init__(name, query, task_type="peer_query", inputs=inputs, outputs={"o0": int})

    def get_custom(self, settings: SerializationSettings) -> dict[str, Any]:
        return {"mode": "ok"}


@dataclass
class Point:
    x: int
    label: str


RETRIED = TaskMetadata(retries=1)

double, by_file, slow = Job("double"), Job("by_file", "file"), Job("slow", "pending")
silent = Job("silent", "empty", outputs={})
failing, coded, stopped = Job("failing", "fail"), Job("coded", "coded"), Job("stopped", "aborted")
old_failing, old_succeeding = Job("old_failing", "old_fail"), Job("old_succeeding", "old_ok")
lacking, lost_outputs = Job("lacking", "lacking"), Job("lost_outputs", "empty")
refused, internal = Job("refused", "refused"), Job("internal", "internal")
broken, unknown, forever = Job("broken", "broken"), Job("unknown", "unknown"), Job("forever", "forever")
flaky, exhausting = Job("flaky", "flaky", metadata=RETRIED), Job("exhausting", "exhausting", metadata=RETRIED)
internal_once = Job("internal_once", "internal_once", metadata=RETRIED)
coded_once = Job("coded_once", "coded_once", metadata=RETRIED)
timed = Job("timed", "forever", metadata=TaskMetadata(timeout=datetime.timedelta(seconds=30)))
add, subtracting, sync_flaky = (
    SyncJob("add"),
    SyncJob("subtracting", "fail"),
    SyncJob("sync_flaky", "flaky", metadata=RETRIED),
)
sync_coded, sync_refused = SyncJob("sync_coded", "coded"), SyncJob("sync_refused", "refused")
sensor = FileSensor(name="sensor")


@task(
    task_config=Elsewhere(queue="long"),
    requests=Resources(cpu="1", mem="500Mi"),
    limits=Resources(cpu="2", mem="1Gi", gpu="1"),
    environment={"COLOUR": "blue"},
    secret_requests=[Secret(group="g", key="password")],
    container_image=IMAGE,
    retries=2,
    interruptible=True,
    timeout=datetime.timedelta(hours=1),
)
def square(value: int) -> int:
    return value * value


POD = PodTemplate(
    primary_container_name="main",
    labels={"pod": "label"},
    annotations={"pod": "annotation"},
    pod_spec=V1PodSpec(
        containers=[
            V1Container(
                name="main",
                env=[V1EnvVar(name="SIZE", value="large")],
                resources=V1ResourceRequirements(requests={"cpu": "1"}, limits={"cpu": "2"}),
            ),
            V1Container(name="beside", image="busybox:1", command=["sleep", "9"], args=["{{.outputPrefix}}"]),
        ],
        tolerations=[V1Toleration(key="dedicated", operator="Exists")],
        node_selector={"disk": "fast"},
    ),
)


@task(task_config=Elsewhere(), pod_template=POD, container_image=IMAGE, environment={"COLOUR": "blue"})
def in_pod(value: int) -> int:
    return value


SHELL = [
    "--text={{.inputs.text}}",
    "--number={{.inputs.number}}",
    "--share={{ .inputs.share }}",
    "--flag={{.Inputs.flag}}",
    "--at={{.inputs.at}}",
    "--took={{.inputs.took}}",
    "--numbers={{.inputs.numbers}}",
    "--file={{.inputs.file}}",
    "{{.input}} {{.inputPrefix}}",
    "{{.outputPrefix}}",
    "{{.rawOutputDataPrefix}}",
    "{{.checkpointOutputPrefix}} {{.prevCheckpointPrefix}}",
    "{{.perRetryUniqueKey}} {{.namespace}}",
    "{{$input}} {{ $Inputs.number }}",
    "$(HOME) $$(HOME) $HOME $$ {{.unknown}} {{.inputs}}",
]

shell = ShellJob(
    name="shell",
    image=IMAGE,
    command=["sh", "-c", "{{.inputs.text}}"],
    arguments=SHELL,
    inputs={
        "text": str,
        "number": int,
        "share": float,
        "flag": bool,
        "at": datetime.datetime,
        "took": datetime.timedelta,
        "numbers": list[int],
        "file": FlyteFile,
    },
    requests=Resources(cpu="500m"),
)

query = Query(
    "query",
    "select {{ .inputs.text }} from t where n = {{ .inputs.number }} -- {{ .rawOutputDataPrefix }} {{.unknown}}",
    {"text": str, "number": int},
)


@task(task_config=Elsewhere(), container_image=IMAGE)
def of_all_kinds(
    text: str,
    maybe: Optional[int],  # noqa: UP045 - of flytekit's types
    nothing: Optional[int],  # noqa: UP045
    point: Point,
    numbers: list[int],
    named: dict[str, float],
    at: datetime.datetime,
) -> int:
    return 1


@workflow
def succeeds(value: int = 4) -> int:
    return double(value=value)


@workflow
def chain(value: int = 4) -> int:
    return add(value=by_file(value=double(value=value)))


@workflow
def pending(value: int = 4) -> int:
    return slow(value=value)


@workflow
def without_outputs(value: int = 4) -> None:
    silent(value=value)


@workflow
def function(value: int = 4) -> int:
    return square(value=value)


@workflow
def pod(value: int = 4) -> int:
    return in_pod(value=value)


@workflow
def templates(
    text: str = "it's $(X) {{.inputs.number}}",
    number: int = 4,
    share: float = 0.5,
    flag: bool = True,
    at: datetime.datetime = datetime.datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=datetime.UTC),
    took: datetime.timedelta = datetime.timedelta(hours=1, seconds=2, milliseconds=5),
    numbers: list[int] = [1, 2, 3],  # noqa: B006
) -> None:
    shell(
        text=text, number=number, share=share, flag=flag, at=at, took=took, numbers=numbers, file="s3://elsewhere/file"
    )


@workflow
def sql(text: str = "word", number: int = 4) -> int:
    return query(text=text, number=number)


@workflow
def inputs(
    text: str = "ünïcode\n",
    maybe: Optional[int] = 3,  # noqa: UP045
    nothing: Optional[int] = None,  # noqa: UP045
    point: Point = Point(1, "a"),  # noqa: B008
    numbers: list[int] = [],  # noqa: B006
    named: dict[str, float] = {"a": 1.5},  # noqa: B006
    at: datetime.datetime = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
) -> int:
    return of_all_kinds(text=text, maybe=maybe, nothing=nothing, point=point, numbers=numbers, named=named, at=at)


@workflow
def overridden(value: int = 4) -> tuple[int, int]:
    first = square(value=value).with_overrides(
        node_name="renamed",
        requests=Resources(cpu="3", mem="2Gi"),
        limits=Resources(cpu="4"),
        container_image="registry.example/other:2",
        interruptible=False,
        retries=1,
        timeout=datetime.timedelta(minutes=5),
    )
    return first, in_pod(value=value).with_overrides(requests=Resources(cpu="3"), limits=Resources(cpu="4"))


@workflow
def inner(value: int) -> int:
    return double(value=value)


@workflow
def nested(value: int = 4) -> int:
    return inner(value=inner(value=value))


@workflow
def branch(value: int = 4) -> int:
    return conditional("size").if_(value > 3).then(double(value=value)).else_().then(add(value=value))


@workflow
def mapped(values: list[int] = [1, 2, 3]) -> list[int]:  # noqa: B006
    return map_task(square)(value=values)


@workflow
def sensing(path: str = "s3://elsewhere/file") -> None:
    sensor(path=path)


@workflow
def sync_succeeds(value: int = 4) -> int:
    return add(value=value)


@workflow
def sync_fails(value: int = 4) -> int:
    return subtracting(value=value)


@workflow
def sync_with_code(value: int = 4) -> int:
    return sync_coded(value=value)


@workflow
def sync_is_refused(value: int = 4) -> int:
    return sync_refused(value=value)


@workflow
def sync_is_retried(value: int = 4) -> int:
    return sync_flaky(value=value)


@workflow
def fails(value: int = 4) -> int:
    return failing(value=value)


@workflow
def is_retried(value: int = 4) -> int:
    return flaky(value=value)


@workflow
def exhausts(value: int = 4) -> int:
    return exhausting(value=value)


@workflow
def is_aborted(value: int = 4) -> int:
    return stopped(value=value)


@workflow
def has_code(value: int = 4) -> int:
    return coded(value=value)


@workflow
def has_code_and_retry(value: int = 4) -> int:
    return coded_once(value=value)


@workflow
def old_fails(value: int = 4) -> int:
    return old_failing(value=value)


@workflow
def old_succeeds(value: int = 4) -> int:
    return old_succeeding(value=value)


@workflow
def lacks_outputs(value: int = 4) -> int:
    return lacking(value=value)


@workflow
def loses_outputs(value: int = 4) -> int:
    return lost_outputs(value=value)


@workflow
def is_refused(value: int = 4) -> int:
    return refused(value=value)


@workflow
def cannot_begin(value: int = 4) -> int:
    return internal(value=value)


@workflow
def begins_later(value: int = 4) -> int:
    return internal_once(value=value)


@workflow
def cannot_be_seen(value: int = 4) -> int:
    return broken(value=value)


@workflow
def is_forgotten(value: int = 4) -> int:
    return unknown(value=value)


@workflow
def times_out(value: int = 4) -> int:
    return timed(value=value)


@workflow
def is_deleted(value: int = 4) -> int:
    return forever(value=value)


@workflow
def fails_beside(value: int = 4) -> tuple[int, int]:
    return forever(value=value), failing(value=value)
